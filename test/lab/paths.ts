/** Where things lie: the checkout, the cache outside it, and the folder for evidence of failed stories. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** The checkout's root; the compiled lab stands in build/lab below it. */
export const repository = resolve(import.meta.dirname, "../..");

/** The agent's program, as `npm run build` leaves it. */
export const agentProgram = join(repository, "dist/cli/main.js");

/** The server that runs inside the L1 machine. */
export const insideProgram = join(import.meta.dirname, "inside.js");

/** Failed stories leave their evidence here, one folder each. */
export const failuresFolder = join(repository, "build/lab-failures");

/** Kernels, QEMU builds and apt lists: `$XDG_CACHE_HOME/pciplug-lab`, else `~/.cache/pciplug-lab`. */
export function cacheFolder(env: NodeJS.ProcessEnv): string {
  const base = env["XDG_CACHE_HOME"];
  return join(base?.startsWith("/") ? base : join(homedir(), ".cache"), "pciplug-lab");
}
