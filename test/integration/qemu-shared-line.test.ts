/** A monitor that others use, too, on the simulated QEMU: visited with a reason, left at once, never held. */
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../src/core/address.js";
import type { VmStatus } from "../../src/core/vm.js";
import type { LinkTiming } from "../../src/qemu/dialling.js";
import type { VmLinkOptions, VmLinkSignal } from "../../src/qemu/line.js";
import { linkVm, type VmLink } from "../../src/qemu/link.js";
import { createSimulation, type Simulation } from "../../src/sim/fleet.js";
import type { SimQemu } from "../../src/sim/qemu.js";
import { aProcess } from "../support/builders.js";
import { Heard } from "../support/heard.js";
import { SimClient, simFolder } from "../support/sim-client.js";

const CARD = parseAddress("0000:65:00.0") as PciAddress;
const ID = "pciplug-0000-65-00.0";
const PLACEMENT = { address: CARD, id: ID, bus: "rp0", addr: "0", rule: "r", properties: {} };
const HOURS_MS = 10_000_000;
/** Nothing is retried by the clock; a process that has ended is noticed soon. */
const EVENTS_ONLY: Partial<LinkTiming> = {
  retryMs: HOURS_MS,
  longestRetryMs: HOURS_MS,
  processMs: 10,
  greetingMs: 100,
  newsMs: 10,
};

let folder: ReturnType<typeof simFolder>;
let simulation: Simulation;
let vm: SimQemu;
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
    monitor: "shared",
    findProcess: async () => {
      searches += 1;
      return vm.isAlive ? aProcess({ pid: vm.pid }) : null;
    },
    isRunning: ({ pid }) => vm.isAlive && vm.pid === pid,
    now: () => performance.now(),
    timing: EVENTS_ONLY,
    ...options,
  });
  const heard = new Heard(link.status$);
  opened.push(heard);
  return { link, heard };
}

const is =
  (kind: VmStatus["kind"]) =>
  (signal: VmLinkSignal): boolean =>
    signal.kind === "vm-seen" && signal.status.kind === kind;

const lacksCard = (signal: VmLinkSignal): boolean =>
  signal.kind === "vm-seen" && signal.status.kind === "up" && signal.status.view.attached.length === 0;

describe("a VM with a shared monitor", () => {
  it("is seen, and left: another client is greeted at once and may stay", async () => {
    const { heard } = open();
    await heard.until(is("up"));
    const other = await SimClient.open(vm.socketPath);
    expect(await other.get("query-status")).toMatchObject({ status: "running" });
    expect(searches).toBe(1);
    await other.close();
  });

  it("is visited for each order, and for nothing else", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    const before = vm.connections;
    expect(await link.attach(PLACEMENT)).toEqual({ kind: "done" });
    expect(await link.look()).toMatchObject({ kind: "up", view: { attached: [{ address: CARD }] } });
    expect(vm.connections - before).toBe(2);
    const asked = vm.commands.length;
    await delay(300);
    expect(vm.connections - before).toBe(2);
    expect(vm.commands).toHaveLength(asked);
  });

  it("is asked for a device without waiting for the guest, and looked at ever less often until it has let go", async () => {
    vm.setGuest({ behaviour: "refuses" });
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    await link.look();
    const before = vm.connections;
    expect(await link.detach(ID, CARD)).toEqual({ kind: "pending" });
    link.expectNews(true);
    await expect.poll(() => vm.connections - before, { timeout: 10_000 }).toBeGreaterThan(3);
    vm.ejectFromGuest(ID);
    await heard.until((signal) => signal.kind === "device-deleted");
    link.expectNews(false);
    await heard.until(
      lacksCard,
      heard.all.findIndex((signal) => signal.kind === "device-deleted"),
    );
    const visits = vm.connections - before;
    // 10, 20, 40, ... ms: ten doublings cover the ten seconds of the poll.
    expect(visits).toBeLessThan(14);
    const told = heard.all.length;
    await delay(200);
    expect(vm.connections - before).toBe(visits);
    expect(heard.all).toHaveLength(told);
  });

  it("tells at the next visit what the guest has thrown out in between", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    await link.look();
    vm.ejectFromGuest(ID);
    await delay(100);
    expect(heard.all.filter((signal) => signal.kind === "device-deleted")).toEqual([]);
    expect(await link.look()).toMatchObject({ kind: "up", view: { attached: [] } });
    expect(heard.all.at(-1)).toMatchObject({ kind: "device-deleted", vm: "a", id: ID });
  });

  it("does not take the devices of an earlier process for thrown out", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    await link.attach(PLACEMENT);
    await link.look();
    const from = heard.all.length;
    await vm.kill();
    await vm.start();
    await heard.until(lacksCard, from);
    expect(heard.all.filter((signal) => signal.kind === "device-deleted")).toEqual([]);
  });

  it("is found absent when its process was killed, though nobody was connected and the socket file stays", async () => {
    const { heard } = open();
    await heard.until(is("up"));
    await vm.kill();
    await heard.until(is("absent"));
    await vm.start();
    await heard.until(is("up"), heard.all.length - 1);
  });

  it("is seen as soon as its socket is there, in a folder that was not", async () => {
    const path = join(folder.dir, "later", "vms", "b.sock");
    const { heard } = open({ path });
    await heard.until(is("absent"));
    const { mkdirSync } = await import("node:fs");
    mkdirSync(join(folder.dir, "later", "vms"), { recursive: true });
    await vm.addMonitor(path);
    await heard.until(is("up"));
  });
});

describe("a shared monitor that another client has", () => {
  it("is waited for in one place of the queue, and meanwhile every order comes back with that", async () => {
    const holder = await SimClient.open(vm.socketPath);
    const { link, heard } = open({ timing: { ...EVENTS_ONLY, retryMs: 5, longestRetryMs: 5 } });
    expect(await heard.until(is("unreachable"))).toMatchObject({
      status: { code: "qmp.busy", reason: "busy: another client has the monitor" },
    });
    expect(await link.attach(PLACEMENT)).toEqual({
      kind: "cancelled",
      detail: "cannot attach 0000:65:00.0 to a: busy: another client has the monitor",
    });
    expect(await link.look()).toMatchObject({ code: "qmp.busy" });
    // Long enough for many attempts: the queue has two places, so one of them must still be free.
    await delay(300);
    const second = new SimClient(vm.socketPath);
    await delay(50);
    expect(second.isClosed).toBe(false);
    await holder.close();
    await heard.until(is("up"));
    await second.until(() => second.messages.some((message) => "QMP" in message), "its greeting");
    await second.close();
    expect(heard.all.map((signal) => signal.kind === "vm-seen" && signal.status.kind)).toEqual([
      "unreachable",
      "up",
    ]);
  });

  it("keeps an order waiting for no longer than a greeting", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    const holder = await SimClient.open(vm.socketPath);
    const beganMs = performance.now();
    expect(await link.attach(PLACEMENT)).toMatchObject({ kind: "cancelled" });
    expect(performance.now() - beganMs).toBeLessThan(5_000);
    expect(vm.attached()).toEqual([]);
    await holder.close();
    await heard.until(is("up"), 1);
    expect(await link.attach(PLACEMENT)).toEqual({ kind: "done" });
  });
});

describe("a VM that breaks off a visit", () => {
  it("in the middle of an order leaves its outcome unknown, and is looked at again", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    const stop = vm.intercept("device_add", () => {
      stop();
      return "close";
    });
    expect(await link.attach(PLACEMENT)).toMatchObject({ kind: "timed-out" });
    expect(await link.look()).toMatchObject({ kind: "up" });
  });

  it("again and again does not spin us", async () => {
    let connections = 0;
    vm.intercept("query-status", () => {
      connections += 1;
      return "close";
    });
    const { heard } = open();
    expect(await heard.until(is("unreachable"))).toMatchObject({ status: { code: "qmp.hung-up" } });
    await delay(100);
    expect(connections).toBeLessThan(6);
  });

  it("by silence is left when the time of a visit is over", async () => {
    const stop = vm.intercept("query-status", () => "silent");
    const { heard } = open({ timing: { ...EVENTS_ONLY, retryMs: 20, visitMs: 50 } });
    expect(await heard.until(is("unreachable"))).toMatchObject({
      status: { code: "qmp.timeout", reason: "no whole answer within 50 ms" },
    });
    stop();
    await heard.until(is("up"));
  });
});

describe.each(["shared", "dedicated"] as const)("a %s socket at which somebody else listens", (monitor) => {
  it("is not spoken to: nothing is sent, and why is told", async () => {
    const path = join(folder.dir, "strange.sock");
    let bytes = 0;
    const server = createServer((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (data) => {
        bytes += data.length;
      });
      socket.write(
        '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 9}, "package": ""}, "capabilities": []}}\n',
      );
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const { link, heard } = open({ path, monitor, objection: () => "nothing is said to it: it is strange" });
    expect(await heard.until(is("unreachable"))).toMatchObject({
      status: { code: "vm.stranger", reason: "nothing is said to it: it is strange" },
    });
    expect(await link.attach(PLACEMENT)).toMatchObject({ kind: "cancelled" });
    await delay(100);
    expect(bytes).toBe(0);
    server.close();
  });

  it("is spoken to when the expected process listens there", async () => {
    const { heard } = open({
      monitor,
      objection: (process) => (process?.pid === vm.pid ? null : "strange"),
      isListening: (process) => process.pid === vm.pid,
    });
    await heard.until(is("up"));
  });
});

describe("nobody follows the VM any more", () => {
  it("and nothing is visited, watched or waited for", async () => {
    const { link, heard } = open();
    await heard.until(is("up"));
    link.expectNews(true);
    heard.stop();
    await delay(50);
    const before = vm.connections;
    await delay(200);
    expect(vm.connections).toBe(before);
    expect(await link.attach(PLACEMENT)).toMatchObject({ kind: "cancelled" });
  });
});
