/** A temporary folder for a simulation, removed with everything in it when it is disposed of. */
import { mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Scratch extends AsyncDisposable {
  readonly dir: string;
}

/** Makes an empty folder that only this user can enter. */
export async function createScratch(): Promise<Scratch> {
  const dir = await mkdtemp(join(await realpath(tmpdir()), "pciplug-"));
  return {
    dir,
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}
