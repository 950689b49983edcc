/** The standing link to one VM, on the simulated QEMU: it comes, goes, comes again, is silent, is left alone. */
import { setTimeout as delay, setImmediate as nextRound } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../src/core/address.js";
import type { VmProcess, VmStatus } from "../../src/core/vm.js";
import type { LinkTiming } from "../../src/qemu/dialling.js";
import type { VmLinkOptions, VmLinkSignal } from "../../src/qemu/line.js";
import { linkVm, type VmLink } from "../../src/qemu/link.js";
import { createSimulation, type Simulation } from "../../src/sim/fleet.js";
import type { SimQemu } from "../../src/sim/qemu.js";
import { aProcess as buildProcess } from "../support/builders.js";
import { Heard } from "../support/heard.js";
import { simFolder } from "../support/sim-client.js";

const CARD = parseAddress("0000:65:00.0") as PciAddress;
const ID = "pciplug-0000-65-00.0";
const PLACEMENT = { address: CARD, id: ID, bus: "rp0", addr: "0", rule: "r", properties: {} };
/** Nothing here may depend on these: events must be enough. */
const HOURS_MS = 10_000_000;
const EVENTS_ONLY: Partial<LinkTiming> = { retryMs: HOURS_MS, longestRetryMs: HOURS_MS };

let folder: ReturnType<typeof simFolder>;
let simulation: Simulation;
let vm: SimQemu;
let clockMs = 1_000;
let searches = 0;
const opened: Heard<VmLinkSignal>[] = [];

beforeEach(async () => {
  folder = simFolder();
  searches = 0;
  simulation = await createSimulation({
    dir: folder.dir,
    cards: [{ address: CARD, driver: "vfio-pci" }],
    vms: [{ name: "a", ports: [{ id: "rp0" }, { id: "rp1" }] }],
  });
  vm = simulation.vm("a");
});

afterEach(async () => {
  for (const heard of opened.splice(0)) {
    heard.stop();
    expect(heard.error).toBeUndefined();
  }
  await simulation[Symbol.asyncDispose]();
  folder.remove();
});

function open(options: Partial<VmLinkOptions> = {}): { link: VmLink; heard: Heard<VmLinkSignal> } {
  const link = linkVm({
    name: "a",
    path: vm.socketPath,
    findProcess: async () => {
      searches += 1;
      return vm.isAlive ? aProcess(vm.pid) : null;
    },
    now: () => {
      clockMs += 1;
      return clockMs;
    },
    timing: EVENTS_ONLY,
    ...options,
  });
  const heard = new Heard(link.status$);
  opened.push(heard);
  return { link, heard };
}

function aProcess(pid: number): VmProcess {
  return buildProcess({ pid, startTicks: "1" });
}

function statusOf(signal: VmLinkSignal): VmStatus | undefined {
  return signal.kind === "vm-seen" ? signal.status : undefined;
}

const is =
  (kind: VmStatus["kind"]) =>
  (signal: VmLinkSignal): boolean =>
    statusOf(signal)?.kind === kind;

const hasAttached =
  (count: number) =>
  (signal: VmLinkSignal): boolean => {
    const status = statusOf(signal);
    return status?.kind === "up" && status.view.attached.length === count;
  };

describe("a VM that runs", () => {
  it("is seen with its ports and its process, once", async () => {
    const { heard } = open();
    const seen = statusOf(await heard.until(is("up")));
    expect(seen).toMatchObject({
      kind: "up",
      view: { runState: "running", ports: [{ bus: "rp0" }, { bus: "rp1" }], process: { pid: vm.pid } },
    });
    expect(heard.all).toHaveLength(1);
    expect(searches).toBe(1);
  });

  it("gets no commands at all while nothing happens", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    const asked = vm.commands.length;
    await delay(300);
    expect(vm.commands).toHaveLength(asked);
  });

  it("is looked at again, once, after a burst of events", async () => {
    const { heard } = open();
    await heard.until(is("up"));
    const looks = (): number => vm.commands.filter((command) => command.name === "query-status").length;
    const before = looks();
    for (let times = 0; times < 3; times += 1) {
      vm.emitEvent("RESET", { guest: true, reason: "guest-reset" });
    }
    await heard.until(is("up"), 1);
    await delay(200);
    expect(looks() - before).toBe(1);
    expect(heard.all.filter(is("up"))).toHaveLength(2);
  });

  it("tells of a device that the guest threw out, then of the VM without it", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    expect(await link.attach(PLACEMENT)).toEqual({ kind: "done" });
    vm.ejectFromGuest(ID);
    await heard.until(hasAttached(0), 1);
    expect(heard.all[1]).toMatchObject({ kind: "device-deleted", vm: "a", id: ID });
  });

  it("attaches, looks and detaches on request, and a look is not told twice", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    expect(await link.look()).toMatchObject({ kind: "up", view: { attached: [{ address: CARD }] } });
    expect(heard.all).toHaveLength(1);
    expect(await link.detach(ID, CARD)).toEqual({ kind: "done" });
    await heard.until((signal) => signal.kind === "device-deleted");
  });

  it("is not looked at in the shadow of a device_add, which blocks the whole monitor", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    let release = (): void => undefined;
    const blocked = new Promise<void>((resolve) => {
      release = resolve;
    });
    vm.intercept("device_add", async () => {
      await blocked;
      return undefined;
    });
    const attaching = link.attach(PLACEMENT);
    const looking = link.look();
    await expect.poll(() => vm.commands.at(-1)?.name).toBe("device_add");
    await delay(100);
    expect(vm.commands.at(-1)?.name).toBe("device_add");
    release();
    expect(await attaching).toEqual({ kind: "done" });
    expect(await looking).toMatchObject({ kind: "up", view: { attached: [{ id: ID }] } });
  });

  it("goes on without a process where none can be found in time", async () => {
    const { heard } = open({
      findProcess: () => new Promise(() => undefined),
      timing: { ...EVENTS_ONLY, findProcessMs: 20 },
    });
    expect(statusOf(await heard.until(is("up")))).toMatchObject({ view: { process: null } });
  });
});

describe("a VM that comes and goes", () => {
  it("is absent before its socket is there, and seen as soon as it is", async () => {
    await vm.terminate();
    const { heard } = open();
    expect(await heard.until(is("absent"))).toMatchObject({
      vm: "a",
      status: { sinceMs: expect.any(Number) },
    });
    await vm.start();
    await heard.until(is("up"));
    expect(heard.all.map((signal) => statusOf(signal)?.kind)).toEqual(["absent", "up"]);
  });

  it("is seen again after SIGKILL and a new start on the same path, each process as itself", async () => {
    const { heard } = open();
    await heard.until(is("up"));
    for (let times = 0; times < 2; times += 1) {
      const from = heard.all.length;
      await vm.kill();
      await heard.until(is("absent"), from);
      await vm.start();
      const seen = statusOf(await heard.until(is("up"), from));
      expect(seen).toMatchObject({ view: { process: { pid: vm.pid } } });
    }
  });

  it("is connected to at once when it is back before anybody noticed", async () => {
    const { heard } = open();
    await heard.until(is("up"));
    await vm.kill();
    await vm.start();
    await heard.until(is("up"), 1);
    expect(searches).toBe(2);
  });

  it("keeps the moment since which it is absent, and is told of once", async () => {
    await vm.terminate();
    const { link, heard } = open({ timing: { retryMs: 5, longestRetryMs: 5 } });
    const first = statusOf(await heard.until(is("absent")));
    await delay(100);
    expect(heard.all).toHaveLength(1);
    expect(await link.look()).toEqual(first);
  });

  it("gives back an order that it cannot take, at once", async () => {
    await vm.terminate();
    const { link, heard } = open();
    await heard.until(is("absent"));
    expect(await link.attach(PLACEMENT)).toMatchObject({
      kind: "cancelled",
      detail: expect.stringContaining("cannot attach 0000:65:00.0 to a: "),
    });
    expect(await link.detach(ID, CARD)).toMatchObject({ kind: "cancelled" });
  });

  it("leaves an order in flight unknown when it dies under it", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    vm.intercept("device_add", async () => {
      await vm.kill();
      return undefined;
    });
    expect(await link.attach(PLACEMENT)).toMatchObject({ kind: "timed-out" });
    // Never "the link was lost": that would stand in the world after the absence was told.
    expect(await link.look()).toMatchObject({ kind: "absent" });
    await heard.until(is("absent"));
  });
});

describe("a look whose link dies under it", () => {
  it("comes back with what the next connection saw", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    const stop = vm.intercept("query-status", () => {
      stop();
      return "close";
    });
    expect(await link.look()).toMatchObject({ kind: "up" });
    expect(searches).toBe(2);
  });

  it("is the first status of a VM that was never looked at", async () => {
    const { link } = open();
    expect(await link.look()).toMatchObject({
      kind: "up",
      view: { ports: [{ bus: "rp0" }, { bus: "rp1" }] },
    });
  });
});

describe("a VM that is silent", () => {
  it("is unreachable, not absent, and is heard as soon as it speaks again", async () => {
    vm.hang();
    const { link, heard } = open({ timing: { ...EVENTS_ONLY, greetingMs: 50 } });
    const seen = await heard.until(is("unreachable"));
    expect(statusOf(seen)).toMatchObject({ code: "qmp.busy-or-silent" });
    expect(await link.look()).toMatchObject({ kind: "unreachable", code: "qmp.busy-or-silent" });
    vm.wake();
    await heard.until(is("up"));
  });

  it("does not spin us when it accepts and hangs up again and again", async () => {
    let connections = 0;
    vm.intercept("query-status", () => {
      connections += 1;
      return "close";
    });
    const { heard } = open();
    const seen = statusOf(await heard.until(is("unreachable")));
    expect(seen).toMatchObject({ code: "qmp.hung-up" });
    await delay(100);
    expect(connections).toBeLessThan(6);
  });
});

describe("nobody listens any more", () => {
  it("and the watch and every timer are gone", async () => {
    await vm.terminate();
    const { link, heard } = open();
    await heard.until(is("absent"));
    await expect.poll(resources, { timeout: 10_000 }).toContain("FSEventWrap");
    heard.stop();
    expect(await resourcesLeft()).toEqual([]);
    await vm.start();
    await delay(100);
    expect(heard.all.map((signal) => statusOf(signal)?.kind)).toEqual(["absent"]);
    expect(await link.attach(PLACEMENT)).toMatchObject({ kind: "cancelled" });
  });

  it("and a connection in use is closed", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    heard.stop();
    await expect.poll(() => link.attach(PLACEMENT), { timeout: 10_000 }).toMatchObject({ kind: "cancelled" });
    // The monitor serves one client: another one is greeted only because we left.
    const again = open();
    await again.heard.until(is("up"));
  });
});

/** Watches and timers that keep the process alive. */
function resources(): string[] {
  return process.getActiveResourcesInfo().filter((name) => ["FSEventWrap", "Timeout"].includes(name));
}

/** What is left of them once all is quiet. Waits without timers, which would be found here themselves. */
async function resourcesLeft(): Promise<string[]> {
  const deadline = performance.now() + 10_000;
  while (resources().length > 0 && performance.now() < deadline) {
    await nextRound();
  }
  return resources();
}

describe("what happens in a VM unasked", () => {
  it("is in no look that had begun before: a device that has left is not told as being there", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    // The look has read the devices by then, and asks for their BARs.
    const stop = vm.intercept("query-pci", () => {
      stop();
      vm.ejectFromGuest(ID);
      return undefined;
    });
    expect(await link.look()).toMatchObject({ kind: "up", view: { attached: [] } });
    expect(heard.all.filter(({ kind }) => kind === "device-deleted")).toHaveLength(1);
  });

  it("is told when a lost link is back, before what is seen then", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    await link.look();
    const before = heard.all.length;
    vm.cutLinks(() => vm.ejectFromGuest(ID));
    await heard.until(is("up"), before);
    expect(heard.all.slice(before)).toMatchObject([
      { kind: "device-deleted", id: ID },
      { kind: "vm-seen", status: { view: { attached: [] } } },
    ]);
  });

  it("is not told of another process: that one never had the device", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    await link.look();
    await vm.kill();
    const before = heard.all.length;
    await vm.start();
    await heard.until(is("up"), before);
    expect(heard.all.filter(({ kind }) => kind === "device-deleted")).toEqual([]);
  });

  it("is told where it is a reset, by whom, as often as QEMU says it, and looked at once", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await vm.guestReboot();
    await heard.until(is("up"), 1);
    expect(heard.all.map((signal) => (signal.kind === "vm-reset" ? signal.isByGuest : signal.kind))).toEqual([
      "vm-seen",
      true,
      true,
      true,
      "vm-seen",
    ]);
    expect(await link.reset()).toEqual({ kind: "done" });
    await heard.until((signal) => signal.kind === "vm-reset" && !signal.isByGuest);
  });
});

describe("a reset that is ordered", () => {
  it("is cancelled while there is no connection", async () => {
    await vm.kill();
    const { link, heard } = open();
    await heard.until(is("absent"));
    expect(await link.reset()).toMatchObject({
      kind: "cancelled",
      detail: expect.stringContaining("cannot reset a"),
    });
  });
});
