/** Three real QEMUs, one of them stopped (SIGSTOP): the lanes of the other two go on as if nothing were. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Workqueue } from "../../src/agent/workqueue.js";
import { findSocketOwner, isRunning } from "../../src/host/process.js";
import { hostRoot } from "../../src/host/root.js";
import { linkVm, type VmLink } from "../../src/qemu/link.js";
import { Heard } from "../support/heard.js";
import { QemuVm } from "../support/qemu-vm.js";

const PORT = "-device pcie-root-port,id=rp0,chassis=1";
const NAMES = ["a", "b", "c"] as const;
const PASSES = 20;

describe.each(["dedicated", "shared"] as const)("three VMs with %s monitors", (monitor) => {
  it("of which one is stopped: the others answer all the time, and that one when it goes on", async () => {
    const folder = mkdtempSync(join(tmpdir(), "pciplug-lanes-"));
    const root = hostRoot("/");
    const vms = new Map(
      NAMES.map((name) => [name, new QemuVm({ args: PORT, path: join(folder, `${name}.sock`) })]),
    );
    const links = new Map<string, VmLink>();
    const heard = new Map<string, Heard<unknown>>();
    try {
      for (const [name, vm] of vms) {
        vm.start();
        const link = linkVm({
          name,
          path: vm.path,
          monitor,
          findProcess: (path) => findSocketOwner(root, path),
          isRunning: (process) => isRunning(root, process),
          now: () => performance.now(),
          timing: { greetingMs: 500 },
        });
        links.set(name, link);
        heard.set(name, new Heard(link.status$));
      }
      await expect.poll(() => kinds(links), { timeout: 30_000 }).toEqual(["up", "up", "up"]);
      await vms.get("b")?.stop();

      const ended: string[] = [];
      const passes = new Map<string, number>();
      const queue = new Workqueue(
        async (lane) => {
          const status = await links.get(lane)?.look();
          ended.push(`${lane} ${status?.kind}`);
          const count = (passes.get(lane) ?? 0) + 1;
          passes.set(lane, count);
          if (lane !== "b" && count < PASSES) {
            queue.wake(lane);
          }
        },
        (error) => ended.push(String(error)),
      );
      for (const name of NAMES) {
        queue.wake(name);
      }
      await queue.idle();
      expect(ended.filter((entry) => !entry.startsWith("b"))).toHaveLength(2 * PASSES);
      expect(ended.filter((entry) => entry.startsWith("a") || entry.startsWith("c"))).toEqual(
        expect.arrayContaining(["a up", "c up"]),
      );
      // The stopped one's only pass ends last: nobody has waited for it.
      expect(ended.at(-1)).toBe("b unreachable");
      vms.get("b")?.signal("SIGCONT");
      await expect.poll(() => kinds(links), { timeout: 30_000 }).toEqual(["up", "up", "up"]);
    } finally {
      for (const ear of heard.values()) {
        ear.stop();
      }
      for (const vm of vms.values()) {
        await vm[Symbol.asyncDispose]();
      }
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

function kinds(links: ReadonlyMap<string, VmLink>): Promise<readonly string[]> {
  return Promise.all([...links.values()].map(async (link) => (await link.look()).kind));
}
