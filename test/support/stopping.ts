/** Stops a process for sure: SIGSTOP is only asked for when kill(2) returns, and a busy process goes on for a while. */
import { readdirSync, readFileSync } from "node:fs";
import { waitFor } from "./waiting.js";

/** Resolves once every thread of the process has stopped. */
export async function stopProcess(pid: number | undefined): Promise<void> {
  if (pid === undefined) {
    throw new Error("there is no process to stop");
  }
  process.kill(pid, "SIGSTOP");
  await waitFor(
    `process ${pid} to stop`,
    () => statesOf(pid).every((state) => state === "T"),
    () => statesOf(pid).join(" "),
  );
}

function statesOf(pid: number): string[] {
  const tasks = `/proc/${pid}/task`;
  // The state is what follows the name, which may hold anything but a newline (proc(5)).
  return readdirSync(tasks).map(
    (task) => readFileSync(`${tasks}/${task}/stat`, "utf8").split(") ").at(-1)?.charAt(0) ?? "",
  );
}
