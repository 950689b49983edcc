/** Remembers what was remarked on each process of a VM, so that each thing is said once. */
import type { AuditEntry } from "../audit/record.js";
import { remarksOn } from "../core/remarks.js";
import { processKey } from "../core/vm.js";
import type { World } from "../core/world.js";

export class RemarkLog {
  /** By VM: the process, and what was said of it. A VM that starts again is another one to be told about. */
  readonly #said = new Map<string, { readonly process: string | null; readonly messages: Set<string> }>();

  /** What is to be said now. A VM that cannot be spoken to for a while is not told about again afterwards. */
  news(world: World): AuditEntry[] {
    return [...world.vms].flatMap(([vm, status]): AuditEntry[] => {
      if (status.kind !== "up") {
        return [];
      }
      const said = this.#saidOf(vm, processKey(status.view.process));
      const fresh = remarksOn(vm, status.view).filter(({ message }) => !said.has(message));
      return fresh.map((remark) => {
        said.add(remark.message);
        const { message: what, address } = remark;
        const about = address === undefined ? { vm } : { vm, address };
        return { atMs: world.nowMs, event: "vm-remark", who: "agent", what, ...about, after: remark };
      });
    });
  }

  #saidOf(vm: string, process: string | null): Set<string> {
    const known = this.#said.get(vm);
    if (known !== undefined && (process === null || known.process === null || known.process === process)) {
      this.#said.set(vm, { process: process ?? known.process, messages: known.messages });
      return known.messages;
    }
    const messages = new Set<string>();
    this.#said.set(vm, { process, messages });
    return messages;
  }
}
