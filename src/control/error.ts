/** What can break at the operator's socket, cut by what the caller does next. */
import { AgentError } from "../base/error.js";

export type ControlErrorCode =
  /** Nobody listens, or whoever did went away in mid-sentence. */
  | "control.no-agent"
  /** The socket, or a folder above it, is not for this user. */
  | "control.not-permitted"
  /** What answers is no agent, not one of this version, or said no. */
  | "control.bad-answer"
  /** The agent knows no such device on its host. */
  | "control.absent"
  /** The question names nothing that the agent has. */
  | "control.unknown"
  /** No whole answer in time. */
  | "control.timeout"
  /** Another process listens on the socket already. */
  | "control.in-use"
  /** The socket cannot be made. */
  | "control.listen-failed";

export class ControlError extends AgentError<ControlErrorCode> {}

/** Bytes of a unix socket path (sun_path less its end); Node would cut a longer one silently. */
const LONGEST_PATH = 107;

/** Whether a path fits into a socket's address. */
export function isSocketPath(path: string): boolean {
  return Buffer.byteLength(path) <= LONGEST_PATH && !path.includes("\0");
}

/** The system's name of an error, such as `ENOENT`; empty where it has none. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
