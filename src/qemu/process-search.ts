/** The process behind a monitor, as far as a link has to know it: found in time, and the one that is expected. */
import { setTimeout as delay } from "node:timers/promises";
import { AgentError } from "../base/error.js";
import type { VmProcess } from "../core/vm.js";

/** What the host tells of processes; made by agent/. */
export interface ProcessEyes {
  /** Finds the process that listens on a socket; `null` when there is none to be found. */
  readonly findProcess: (path: string) => Promise<VmProcess | null>;
  /** Whether a process found earlier is still there. Without it, every one is. */
  readonly isRunning?: ((process: VmProcess) => boolean) | undefined;
  /** Whether this very process listens on the socket. */
  readonly isListening?: ((process: VmProcess, path: string) => boolean) | undefined;
  /** Why nothing may be said to the process that listens; `null` when it may. Without it, anybody is spoken to. */
  readonly objection?: ((process: VmProcess | null) => string | null) | undefined;
}

type Search = ProcessEyes & { readonly path: string };

/** A process that cannot be found in time is `null`: shown as unknown, and nothing is given to its VM. */
export async function findInTime(
  { findProcess, path }: Search,
  limitMs: number,
  stop: AbortSignal,
): Promise<VmProcess | null> {
  const over = new AbortController();
  const end = (): void => over.abort();
  stop.addEventListener("abort", end);
  const late = delay(limitMs, null, { signal: over.signal }).catch(() => null);
  try {
    return await Promise.race([findProcess(path), late]);
  } catch (error) {
    if (error instanceof AgentError && error.code !== "bug") {
      return null;
    }
    throw error;
  } finally {
    stop.removeEventListener("abort", end);
    over.abort();
  }
}

/**
 * Lets a connection through whose other end is the process that was found, and may be spoken to (semantics.md 9).
 *
 * @throws {AgentError} `vm.stranger`
 */
export function approveListener({ objection, isListening, path }: Search, process: VmProcess | null): void {
  if (objection === undefined) {
    return;
  }
  const why = objection(process);
  if (why !== null) {
    throw new AgentError("vm.stranger", why);
  }
  if (process !== null && isListening?.(process, path) === false) {
    throw new AgentError("vm.stranger", `process ${process.pid} does not listen at ${path} any more`);
  }
}
