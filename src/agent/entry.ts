/** The door through which the command line reaches the loop; loaded only by the commands that need it. */
import { formatIssues } from "../config/load.js";
import type { ExitCode } from "../core/exit-code.js";
import { EXIT } from "../core/exit-code.js";
import type { RehearsalReport } from "../core/rehearsal.js";
import { openIntents } from "../host/intents.js";
import { openStateFolder } from "../host/state-folder.js";
import { demo } from "./demo.js";
import { processEdge } from "./main.js";
import type { AgentOptions } from "./options.js";
import { type RehearsalHooks, rehearse } from "./rehearse.js";
import { type RehearsalRequest, readScript } from "./rehearse-files.js";
import { runProcess } from "./run.js";

/** Runs the agent to its end and gives the exit code. */
export async function runAgent(options: AgentOptions): Promise<ExitCode> {
  const edge = processEdge(options.version);
  const code = await runProcess(options, edge);
  // A step that hangs in the kernel must not keep the process: its child is left behind, the ledger knows.
  edge.exitNow(code);
  return code;
}

/** Shows the main job on a simulated host. */
export async function runDemo(version: string, print: (line: string) => void): Promise<ExitCode> {
  return demo(processEdge(version), print);
}

/** How a rehearsal has ended. */
export type RehearsalEnd =
  | { readonly kind: "played"; readonly report: RehearsalReport }
  /** A file is not good: every complaint, for people. */
  | { readonly kind: "bad-file"; readonly complaints: string }
  /** By a signal: its name. */
  | { readonly kind: "called-off"; readonly signal: string };

/** Rehearses what the request names. @throws {HostError} {@link RehearsalError} */
export async function runRehearsal(
  version: string,
  request: RehearsalRequest,
  hooks: Pick<RehearsalHooks, "onNotes" | "onEvent">,
): Promise<RehearsalEnd> {
  const edge = processEdge(version);
  const script = await readScript(request);
  if (!script.ok) {
    return { kind: "bad-file", complaints: formatIssues(script.error) };
  }
  const stop = new AbortController();
  void edge.stopSignal().then((signal) => stop.abort(signal));
  // A rehearsal has no file to read again: a terminal that hangs up ends it.
  edge.onReloadSignal(() => stop.abort("SIGHUP"));
  try {
    const report = await rehearse(script.value, edge, { ...hooks, signal: stop.signal });
    return { kind: "played", report };
  } catch (error) {
    if (stop.signal.aborted) {
      return { kind: "called-off", signal: String(stop.signal.reason) };
    }
    throw error;
  }
}

/** Goes on without the holds that were lost with a damaged intents file. Refused while an agent runs. */
export async function acceptLoss(stateDir: string, print: (line: string) => void): Promise<ExitCode> {
  const folder = await openStateFolder(stateDir);
  try {
    const kept = await openIntents(folder.intents).acceptLoss();
    print(
      kept.length === 0 ? "Nothing was lost." : `Accepted. What was damaged is kept as ${kept.join(", ")}.`,
    );
    return EXIT.ok;
  } finally {
    folder.close();
  }
}
