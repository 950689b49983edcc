/** Scripts for rehearsals on the recorded machines of fixtures/hosts. */
import { processEdge } from "../../src/agent/main.js";
import { type RehearsalHooks, type RehearsalScript, rehearse } from "../../src/agent/rehearse.js";
import { parseEvents } from "../../src/config/events.js";
import { formatIssues, parseConfig } from "../../src/config/load.js";
import type { Policy } from "../../src/core/policy.js";
import type { RehearsalReport } from "../../src/core/rehearsal.js";
import { readRecording } from "../../src/host/recording.js";

export interface Tryout extends Partial<Omit<RehearsalScript, "devices" | "policy" | "events">> {
  /** Name of a file in fixtures/hosts. */
  readonly host: string;
  /** Text of the operator's file, or what it has become. */
  readonly rules: string | Policy;
  /** Text of the events file. */
  readonly events?: string;
}

/** Reads the files of a tryout and plays it. */
export async function tryOut(
  { host, rules, events = "[]", ...more }: Tryout,
  hooks: RehearsalHooks = {},
): Promise<RehearsalReport> {
  const { devices, protectionFacts, dma } = await readRecording(recordingOf(host));
  const parsed = parseEvents(events, "events.yaml");
  if (!parsed.ok) {
    throw new Error(formatIssues(parsed.error));
  }
  const script: RehearsalScript = {
    devices,
    protectionFacts,
    dma,
    policy: typeof rules === "string" ? policyOf(rules) : rules,
    events: parsed.value,
    policies: new Map(),
    isAssumingGroups: false,
    ...more,
  };
  return rehearse(script, processEdge("test"), hooks);
}

export function policyOf(text: string): Policy {
  const parsed = parseConfig(text, "rules.yaml");
  if (!parsed.ok) {
    throw new Error(formatIssues(parsed.error));
  }
  return parsed.value.policy;
}

/** Path of a recorded machine. */
export function recordingOf(name: string): string {
  return new URL(`../../fixtures/hosts/${name}.json`, import.meta.url).pathname;
}

/** Every step of an event, as one word and the addresses: `attach 0000:0b:00.0`. */
export function stepsOf(report: RehearsalReport, event: number): string[] {
  return (report.timeline[event]?.steps ?? []).map((step) => `${step.kind} ${step.addresses.join(" ")}`);
}

/** Every decision of an event: `0000:0b:00.0 assigned`, `0000:0b:00.0 held: ...`. */
export function decisionsOf(report: RehearsalReport, event: number): string[] {
  return (report.timeline[event]?.decisions ?? []).map(
    ({ address, verdict, reason }) => `${address} ${verdict}${reason === null ? "" : `: ${reason.message}`}`,
  );
}
