/** The link to a real QEMU that is killed, started again, stopped and made to go on. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { VmStatus } from "../../src/core/vm.js";
import type { VmLinkSignal } from "../../src/qemu/line.js";
import { linkVm, type VmLink } from "../../src/qemu/link.js";
import { Heard } from "../support/heard.js";
import { QemuVm } from "../support/qemu-vm.js";

const HOURS_MS = 10_000_000;
const PORT = "-device pcie-root-port,id=rp0,chassis=1";

let folder: string;
let vm: QemuVm;
let heard: Heard<VmLinkSignal> | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "pciplug-link-"));
  vm = new QemuVm({ args: PORT, path: join(folder, "qmp.sock") });
});

afterEach(async () => {
  heard?.stop();
  await vm[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

function open(): { link: VmLink; heard: Heard<VmLinkSignal> } {
  let clockMs = 0;
  const link = linkVm({
    name: "a",
    path: vm.path,
    findProcess: async () => null,
    now: () => {
      clockMs += 1;
      return clockMs;
    },
    // Events alone must do.
    timing: { retryMs: HOURS_MS, longestRetryMs: HOURS_MS, greetingMs: 500 },
  });
  heard = new Heard(link.status$);
  return { link, heard };
}

const is =
  (kind: VmStatus["kind"]) =>
  (signal: VmLinkSignal): boolean =>
    signal.kind === "vm-seen" && signal.status.kind === kind;

describe("the link to a real QEMU", () => {
  it("finds it when it starts, loses it when it is killed, finds it when it starts again", async () => {
    const { heard } = open();
    await heard.until(is("absent"));
    vm.start();
    expect(await heard.until(is("up"))).toMatchObject({
      status: { view: { runState: "prelaunch", ports: [{ bus: "rp0", state: { kind: "free" } }] } },
    });
    await vm.kill();
    const killed = heard.all.length;
    await heard.until(is("absent"), killed - 1);
    vm.start();
    await heard.until(is("up"), killed);
    expect(heard.all.map((signal) => (signal.kind === "vm-seen" ? signal.status.kind : signal.kind))).toEqual(
      ["absent", "up", "absent", "up"],
    );
  });

  it("says absent in other words after an orderly exit", async () => {
    vm.start();
    const { heard } = open();
    await heard.until(is("up"));
    vm.signal("SIGTERM");
    expect(await heard.until(is("absent"), heard.all.length)).toMatchObject({
      status: { reason: expect.stringContaining("no such socket") },
    });
  });

  it("calls a stopped process unreachable, never absent, and is back when that goes on", async () => {
    vm.start();
    await (await vm.connect()).close();
    await vm.stop();
    const { link, heard } = open();
    expect(await heard.until(is("unreachable"))).toMatchObject({ status: { code: "qmp.busy-or-silent" } });
    expect(await link.look()).toMatchObject({ kind: "unreachable" });
    vm.signal("SIGCONT");
    await heard.until(is("up"));
    expect(heard.all.some(is("absent"))).toBe(false);
  });

  it("notices by an order's own look that a process was stopped under it", async () => {
    vm.start();
    await (await vm.connect()).close();
    const { link, heard } = open();
    await heard.until(is("up"));
    await vm.stop();
    expect(await link.look()).toMatchObject({ kind: "unreachable", code: "qmp.busy-or-silent" });
    await heard.until(is("unreachable"), 1);
    vm.signal("SIGCONT");
    await heard.until(is("up"), 1);
    expect(heard.all.some(is("absent"))).toBe(false);
  });
});
