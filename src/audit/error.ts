/** What can break between us and our own memory. */
import { AgentError } from "../base/error.js";

export type AuditErrorCode =
  /** The file cannot be opened, is no plain file of ours, or its end makes no sense. */
  | "audit.open-failed"
  /** A line may not be on disk: what it announces must not be done. */
  | "audit.write-failed"
  /** The file cannot be read back. */
  | "audit.read-failed"
  /** Nothing can be appended after close(). */
  | "audit.closed";

export class AuditError extends AgentError<AuditErrorCode> {}
