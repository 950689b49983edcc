/** The door through which the command line reaches the loop; loaded only by the commands that need it. */
import type { ExitCode } from "../core/exit-code.js";
import { EXIT } from "../core/exit-code.js";
import { openIntents } from "../host/intents.js";
import { openStateFolder } from "../host/state-folder.js";
import { demo } from "./demo.js";
import { processEdge } from "./main.js";
import type { AgentOptions } from "./options.js";
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
