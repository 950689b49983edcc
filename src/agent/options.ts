import type { LogLevel } from "../audit/log.js";

/** How the operator started the agent. */
export interface AgentOptions {
  /** Of this program, for the audit and for those who ask. */
  readonly version: string;
  readonly configPath: string;
  readonly stateDir: string;
  /** The host's root: `/`, or a copy or simulation of one. */
  readonly rootDir: string;
  /** Decide and log, write nothing. */
  readonly isObserving: boolean;
  /** One plan executed to its outcomes, then end. */
  readonly isOnce: boolean;
  /** Lift the detach limit for this start. */
  readonly isDetachConfirmed: boolean;
  readonly logLevel: LogLevel;
  /** Folder for recordings of the QMP traffic; `null`: none. */
  readonly traceDir: string | null;
}
