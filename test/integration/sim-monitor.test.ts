/** The simulated QMP socket, byte for byte where a recording has the bytes (fixtures/qmp/7.2/6-qmp-socket-raw). */
import { existsSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createSimulation, type Simulation } from "../../src/sim/fleet.js";
import type { SimQemu } from "../../src/sim/qemu.js";
import { loadRawExchanges } from "../support/qmp-recordings.js";
import { classOf, descOf, SimClient, simFolder } from "../support/sim-client.js";

let folder: ReturnType<typeof simFolder>;
let simulation: Simulation;
let vm: SimQemu;
const clients: SimClient[] = [];

beforeEach(async () => {
  folder = simFolder();
  simulation = await createSimulation({
    dir: folder.dir,
    vms: [
      { name: "vmA", uuid: "11111111-2222-3333-4444-555555555555", isPaused: true, ports: [{ id: "rp0" }] },
    ],
  });
  vm = simulation.vm("vmA");
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await simulation[Symbol.asyncDispose]();
  folder.remove();
});

function connect(path = vm.socketPath): SimClient {
  const client = new SimClient(path);
  clients.push(client);
  return client;
}

async function open(path = vm.socketPath): Promise<SimClient> {
  const client = await SimClient.open(path);
  clients.push(client);
  return client;
}

function connectError(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.on("error", (error) => resolve((error as NodeJS.ErrnoException).code));
  });
}

describe("raw bytes", () => {
  it("are answered as QEMU 7.2 answered them", async () => {
    const recorded = loadRawExchanges();
    const upTo = recorded.findIndex((exchange) => exchange.note === "exec-oob when not enabled");
    // Invalid UTF-8 is left out: the recording itself could not hold it.
    const exchanges = recorded.slice(0, upTo).filter((exchange) => !exchange.note.includes("0xff"));
    expect(exchanges.length).toBeGreaterThan(15);
    const client = connect();
    for (const { note, client: sent, server } of exchanges) {
      const before = client.text.length;
      client.socket.write(sent);
      const got = (): string => client.text.slice(before);
      await client.until(() => got().length >= server.length, note);
      expect({ note, server: got() }).toEqual({ note, server });
    }
  });
});

describe("a second client", () => {
  it("connects, gets no greeting, and is served with what it wrote once the first has gone", async () => {
    const first = await open();
    const second = connect();
    second.socket.write('{"execute":"qmp_capabilities"}');
    await first.run("query-status");
    expect(second.text).toBe("");
    await first.close();
    await second.until(() => second.text.includes('"return": {}'), "greeting and reply");
    expect(second.text).toMatch(/^{"QMP".*\r\n{"return": {}}\r\n$/);
  });

  it("has its own place on another monitor, and both hear of every event", async () => {
    await vm.addMonitor(join(folder.dir, "run/second.sock"));
    const [first, second] = [await open(), await open(join(folder.dir, "run/second.sock"))];
    await first.run("cont");
    await second.untilEvent("RESUME");
    expect(first.messages.findIndex((message) => message["event"] === "RESUME")).toBe(
      first.messages.length - 2,
    );
  });

  it("hears nothing of events before its negotiation", async () => {
    await vm.addMonitor(join(folder.dir, "run/second.sock"));
    const [first, second] = [await open(), connect(join(folder.dir, "run/second.sock"))];
    await second.until(() => second.text.includes("QMP"), "greeting");
    await first.run("cont");
    second.socket.write('{"execute":"qmp_capabilities"}');
    await second.until(() => second.text.includes("return"), "reply");
    expect(second.events("RESUME")).toEqual([]);
  });
});

describe("the process", () => {
  it("leaves its socket file behind when killed, and can be started again on it", async () => {
    const client = await open();
    const { pid } = vm;
    await vm.kill();
    await client.until(() => client.isClosed, "the end");
    expect(existsSync(vm.socketPath)).toBe(true);
    expect(await connectError(vm.socketPath)).toBe("ECONNREFUSED");
    await vm.start();
    expect(await (await open()).get("query-name")).toEqual({ name: "vmA" });
    expect(vm.pid).not.toBe(pid);
  });

  it("says SHUTDOWN, replies, and takes its socket file away at quit", async () => {
    const client = await open();
    await client.run("quit");
    await client.until(() => client.isClosed, "the end");
    expect(client.events("SHUTDOWN")).toEqual([{ guest: false, reason: "host-qmp-quit" }]);
    expect(await connectError(vm.socketPath)).toBe("ENOENT");
  });

  it("accepts but says nothing while it is stopped by a signal, then goes on", async () => {
    const first = await open();
    vm.hang();
    const status = first.run("query-status");
    const second = connect();
    await new Promise<void>((resolve) => second.socket.once("connect", () => resolve()));
    expect(vm.commands.map((command) => command.name)).toEqual([]);
    vm.wake();
    expect(await status).toEqual({ return: { status: "prelaunch", singlestep: false, running: false } });
  });

  it("blocks every monitor while a device is realized", async () => {
    const order: string[] = [];
    vm.intercept("device_add", async () => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push("device_add");
      return undefined;
    });
    await vm.addMonitor(join(folder.dir, "run/second.sock"));
    const [first, second] = [await open(), await open(join(folder.dir, "run/second.sock"))];
    const adding = first.run("device_add", { driver: "e1000e", id: "n", bus: "rp0", addr: "0" });
    await vi.waitFor(() => expect(vm.commands).toHaveLength(1));
    await second.run("query-status");
    order.push("query-status");
    await adding;
    expect(order).toEqual(["device_add", "query-status"]);
  });
});

describe("for tests", () => {
  it("records commands with their arguments, and lets a test answer, fall silent or hang up", async () => {
    const client = await open();
    const restore = vm.intercept("query-name", () => ({ error: { class: "GenericError", desc: "no" } }));
    expect(descOf(await client.run("query-name"))).toBe("no");
    restore();
    expect(await client.get("query-name")).toEqual({ name: "vmA" });
    vm.intercept("query-uuid", () => "silent");
    client.socket.write('{"execute":"query-uuid","id":"u"}');
    expect(classOf(await client.run("frob"))).toBe("CommandNotFound");
    expect(client.messages.some((message) => message["id"] === "u")).toBe(false);
    vm.intercept("query-status", () => "close");
    client.socket.write('{"execute":"query-status"}');
    await client.until(() => client.isClosed, "the end");
    expect(vm.commands.map((command) => command.name)).toEqual([
      "query-name",
      "query-name",
      "query-uuid",
      "frob",
      "query-status",
    ]);
  });
});
