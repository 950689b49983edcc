/**
 * The door of this room: the operator's file in, a policy or every complaint out.
 *
 * `parseConfig` is pure; `loadConfig` reads the file once, after looking at who could have written it. Neither
 * throws for anything a file can be.
 */
import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { messageOf } from "../base/error.js";
import { err, ok, type Result } from "../base/result.js";
import type { Policy } from "../core/policy.js";
import { readDocument } from "./document.js";
import { type ConfigIssue, fileIssue, formatIssue, type SourceText } from "./issue.js";
import { buildPolicy } from "./policy.js";
import { readShape } from "./shape.js";
import { complaintAbout, judgeTrust } from "./trust.js";

/** A policy with remarks on what may not mean what it says, or why there is none. */
export type ConfigResult = Result<
  { readonly policy: Policy; readonly remarks: readonly ConfigIssue[] },
  readonly ConfigIssue[]
>;

/** Far more than the longest list of rules needs. */
const LARGEST_BYTES = 1024 * 1024;

/**
 * Reads and checks the file.
 *
 * @param options.trustedUid user besides root who may own the file and its folders; by default the one who runs.
 */
export async function loadConfig(
  path: string,
  options: { readonly trustedUid?: number } = {},
): Promise<ConfigResult> {
  const text = await readTrusted(path, options.trustedUid ?? process.geteuid?.() ?? 0);
  return text.ok ? parseConfig(text.value, path) : text;
}

/** Checks the text of the file called `path`. Pure: the same text gives the same policy and version. */
export function parseConfig(text: string, path: string): ConfigResult {
  const document = readDocument(text, path);
  if (!document.ok) {
    return document;
  }
  const source: SourceText = document.value.source;
  const file = readShape(document.value);
  if (!file.ok) {
    return err(source.issues(file.error));
  }
  const version = createHash("sha256").update(text).digest("hex");
  const built = buildPolicy(file.value, document.value, version);
  return built.ok
    ? ok({ policy: built.value.policy, remarks: source.issues(built.value.remarks) })
    : err(source.issues(built.error));
}

/** Every complaint for a person, with the line and a caret; several lines of text, without the last line end. */
export function formatIssues(issues: readonly ConfigIssue[]): string {
  return issues.map(formatIssue).join("\n");
}

async function readTrusted(
  path: string,
  trustedUid: number,
): Promise<Result<string, readonly ConfigIssue[]>> {
  try {
    const trust = await judgeTrust(path, trustedUid);
    return trust.kind === "trusted"
      ? await readWhole(path, trust.path, trustedUid)
      : err([fileIssue(path, `cannot be trusted: ${trust.message}`, trust.hint)]);
  } catch (error) {
    return err([unreadable(path, error)]);
  }
}

async function readWhole(
  path: string,
  realPath: string,
  trustedUid: number,
): Promise<Result<string, readonly ConfigIssue[]>> {
  // O_NONBLOCK: a FIFO put in the file's place must not stop the agent.
  const file = await open(realPath, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const stats = await file.stat();
    const complaint = unfit(stats) ?? untrusted(realPath, stats, trustedUid);
    if (complaint !== null) {
      return err([fileIssue(path, complaint)]);
    }
    const bytes = await file.readFile();
    return ok(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } finally {
    await file.close();
  }
}

function unfit(stats: Stats): string | null {
  if (!stats.isFile()) {
    return stats.isDirectory() ? "is a folder: expected a file" : "is not a plain file";
  }
  return stats.size > LARGEST_BYTES ? `is larger than ${LARGEST_BYTES} bytes` : null;
}

/** The opened file once more: it may be another one than the one that was looked at. */
function untrusted(realPath: string, stats: Stats, trustedUid: number): string | null {
  const complaint = complaintAbout(realPath, stats, new Set([0, trustedUid]));
  return complaint?.kind === "refused" ? `cannot be trusted: ${complaint.message}` : null;
}

function unreadable(path: string, error: unknown): ConfigIssue {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  switch (code) {
    case "ENOENT":
      return fileIssue(
        path,
        "is not there",
        "write one: contrib/examples/first.yaml is a first useful example",
      );
    case "ENOTDIR":
      return fileIssue(path, "is not there: something on the way to it is not a folder");
    case "EACCES":
    case "EPERM":
      return fileIssue(path, "may not be read", "run as root, or as the user it belongs to");
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return fileIssue(path, "is not UTF-8 text", "save it as UTF-8");
    default:
      return fileIssue(path, `cannot be read: ${messageOf(error)}`);
  }
}
