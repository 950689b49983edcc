/** Answers questions with what a real QEMU answered to the very same question in a recording. */
import type { QmpReader } from "../../src/qemu/qom.js";
import { QmpCommandError } from "../../src/qmp/errors.js";
import { isObject, loadRecordings, type WireObject } from "./qmp-recordings.js";

export interface Replay extends QmpReader {
  /** Every question that was asked, in order. */
  readonly asked: readonly string[];
  /** The questions that the recording has no answer to: they were refused with DeviceNotFound. */
  readonly unanswered: readonly string[];
}

/** The first connection of a recording. Of several answers to one question the first is given. */
export function replayOf(name: string): Replay {
  const recording = loadRecordings().find((entry) => entry.name === `${name}.ndjson`);
  if (recording === undefined) {
    throw new Error(`no recording named ${name}`);
  }
  const answers = new Map<string, WireObject>();
  const questions = new Map<unknown, string>();
  for (const { dir, msg } of recording.connections.flat()) {
    if (isObject(msg) && dir === "client") {
      questions.set(msg["id"], questionOf(String(msg["execute"]), msg["arguments"]));
    } else if (isObject(msg) && ("return" in msg || "error" in msg)) {
      const question = questions.get(msg["id"]) ?? "";
      answers.set(question, answers.get(question) ?? msg);
    }
  }
  const asked: string[] = [];
  const unanswered: string[] = [];
  const execute = async (command: string, args?: unknown): Promise<unknown> => {
    const question = questionOf(command, args);
    asked.push(question);
    const answer = answers.get(question);
    if (answer !== undefined && "return" in answer) {
      return answer["return"];
    }
    if (answer === undefined) {
      unanswered.push(question);
      throw new QmpCommandError(command, "DeviceNotFound", "not in the recording");
    }
    const error = answer["error"] as { class: string; desc: string };
    throw new QmpCommandError(command, error.class, error.desc);
  };
  return { execute: execute as QmpReader["execute"], asked, unanswered };
}

function questionOf(command: string, args: unknown): string {
  const given = isObject(args) ? Object.entries(args).sort(([a], [b]) => a.localeCompare(b)) : [];
  return JSON.stringify([command, ...given]);
}
