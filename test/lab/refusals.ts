/** What the agent's program makes of QEMU's refusals: the built one, as an operator has it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { repository } from "./paths.js";
import type { Lab } from "./story.js";
import type { QmpError } from "./vm.js";

interface RefusalModule {
  readonly refusalOf: (error: { readonly qmpClass: string; readonly desc: string }) => {
    readonly row: string | null;
    readonly next: string;
  };
}

/** Asserts that QEMU has refused, and that its words are understood as this refusal (contrib/doc/refusals.md). */
export async function assertRefusal(lab: Lab, error: QmpError | null, row: string): Promise<void> {
  assert.ok(error, `QEMU refuses: ${row}`);
  const { refusalOf } = (await import(
    pathToFileURL(join(repository, "dist/qemu/refusal.js")).href
  )) as RefusalModule;
  const refusal = refusalOf({ qmpClass: error.class, desc: error.desc });
  assert.equal(refusal.row, row, error.desc);
  lab.saw(`${row} (${refusal.next}): ${error.desc}`);
}
