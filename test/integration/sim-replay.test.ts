/**
 * The simulated QEMU against recordings of the real one: the same requests get the same answers.
 *
 * The guest lets go exactly when the recorded one did; when it would by itself is a matter of guest.test.ts.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { createSimulation, type Simulation, type SimVmSpec } from "../../src/sim/fleet.js";
import type { SimColdDevice, SimPort } from "../../src/sim/qemu-options.js";
import { type Message, SimClient, simFolder } from "../support/sim-client.js";

interface Line {
  readonly t?: number;
  readonly dir: "client" | "server" | "note";
  readonly msg: unknown;
}

/** Simulated milliseconds per real one. */
const SPEED = 100;
/** Never in this test. */
const HOURS_MS = 10_000_000;
const PORTS = new Set([
  "pcie-root-port",
  "ioh3420",
  "pcie-pci-bridge",
  "pci-bridge",
  "i82801b11-bridge",
  "pxb-pcie",
  "x3130-upstream",
  "xio3130-downstream",
]);

/** What the simulation does not imitate, on purpose, and why. */
const LEFT_OUT: readonly (readonly [string, (request: Message) => boolean])[] = [
  ["no command of this program", (request) => LEFT_OUT_COMMANDS.has(String(request["execute"]))],
  ["types nobody asks for", (request) => argumentOf(request, "implements") === "hotplug-handler"],
  [
    "the chipset's own devices",
    (request) => argumentOf(request, "path")?.startsWith("/machine/unattached") === true,
  ],
  ["bus names that are paths", (request) => /^pcie\.0\//.test(argumentOf(request, "bus") ?? "")],
];
const LEFT_OUT_COMMANDS = new Set([
  "device-list-properties",
  "human-monitor-command",
  "qom-list-properties",
  "query-machines",
]);

const world: { simulation?: Simulation; client?: SimClient; remove?: () => void } = {};

afterEach(async () => {
  await world.client?.close();
  await world.simulation?.[Symbol.asyncDispose]();
  world.remove?.();
});

describe.each([
  "1-addr-forms",
  "2-anon-ports",
  "2-enumeration",
  "2-handler-pc",
  "2-handler-microvm",
  "2-hotplug-handler",
  "2-pending-acpi",
  "2-pending-native",
  "3-pc",
  "4-multifunction-acpi",
  "4-multifunction-native",
])("recording %s", (name) => {
  it("gets replies of the same shape, errors of the same class and text", async () => {
    const lines = linesOf(name);
    const argv = String(lines.find((line) => line.dir === "note")?.msg);
    const { dir, remove } = simFolder();
    world.remove = remove;
    world.simulation = await createSimulation({ dir, vms: [{ ...vmOf(argv), name: "vm" }] });
    const vm = world.simulation.vm("vm");
    world.client = await SimClient.open(world.simulation.socketOf("vm"));
    let answered = 0;
    let before = 0;
    for (const { request, reply, atMs, deleted } of exchangesOf(lines)) {
      await pause((atMs - before) / SPEED);
      before = atMs;
      for (const { device, path } of deleted) {
        if (vm.deviceIds().includes(device ?? path)) {
          vm.ejectFromGuest(device ?? path);
        }
        await world.client.untilEvent("DEVICE_DELETED", device === undefined ? { path } : { device, path });
      }
      if (LEFT_OUT.some(([, isLeftOut]) => isLeftOut(request))) {
        continue;
      }
      const answer = await world.client.run(String(request["execute"]), request["arguments"]);
      expect({ request, answer: shapeOf(request, answer) }).toEqual({
        request,
        answer: shapeOf(request, reply),
      });
      answered += 1;
    }
    expect(answered).toBeGreaterThan(1);
  });
});

function linesOf(name: string): Line[] {
  const path = join(import.meta.dirname, `../../fixtures/qmp/7.2/${name}.ndjson`);
  return readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
}

interface Exchange {
  readonly request: Message;
  readonly reply: Message;
  readonly atMs: number;
  /** Data of each DEVICE_DELETED that came before the request. */
  readonly deleted: readonly { readonly device?: string; readonly path: string }[];
}

function exchangesOf(lines: readonly Line[]): Exchange[] {
  let deleted: { readonly device?: string; readonly path: string }[] = [];
  const exchanges: Exchange[] = [];
  for (const { dir, msg, t } of lines) {
    const message = msg as Message;
    if (dir === "server" && message["event"] === "DEVICE_DELETED") {
      deleted.push(message["data"] as { readonly path: string });
    }
    if (dir === "client" && message["execute"] !== "qmp_capabilities") {
      const found = lines.find(
        (line) => line.dir === "server" && (line.msg as Message)["id"] === message["id"],
      );
      const { id: _id, ...reply } = (found?.msg ?? {}) as Message;
      exchanges.push({ request: message, reply, atMs: (t ?? 0) * 1000, deleted });
      deleted = [];
    }
  }
  return exchanges;
}

/** The options that a recorded command line stands for. */
function vmOf(argv: string): Omit<SimVmSpec, "name"> {
  const words = argv.split(" ");
  const devices = words.flatMap((word, at) => (words[at - 1] === "-device" ? [deviceOf(word)] : []));
  const machine = words[words.indexOf("-M") + 1] ?? "q35";
  const isNative = argv.includes("acpi-pci-hotplug-with-bridge-support=off");
  return {
    machine: machine.startsWith("microvm") ? "microvm" : machine.startsWith("pc") ? "pc" : "q35",
    mode: isNative ? "native" : "acpi",
    isPaused: words.includes("-S"),
    guest: { behaviour: "slow", delayMs: HOURS_MS },
    speed: SPEED,
    ports: devices.filter((device) => PORTS.has(device.driver)).map(portOf),
    coldDevices: devices.filter((device) => !PORTS.has(device.driver)),
  };
}

function deviceOf(text: string): SimColdDevice {
  const [driver = "", ...rest] = text.split(",");
  const entries = rest.map((part) => {
    const [key = "", value = ""] = part.split("=");
    const isSwitch = value === "on" || value === "off";
    const isNumber = key === "chassis" || key === "slot";
    return [key, isSwitch ? value === "on" : isNumber ? Number(value) : value];
  });
  return { driver, ...Object.fromEntries(entries) } as SimColdDevice;
}

function portOf({ driver, ...rest }: SimColdDevice): SimPort {
  return { ...rest, kind: driver };
}

function argumentOf(request: Message, name: string): string | undefined {
  const value = (request["arguments"] as Message | undefined)?.[name];
  return typeof value === "string" ? value : undefined;
}

/** What must agree: errors word for word; values of qom-get; names and types of lists; keys and types of the rest. */
function shapeOf(request: Message, reply: Message): unknown {
  if ("error" in reply) {
    return reply;
  }
  const returned = reply["return"];
  switch (request["execute"]) {
    case "qom-list":
      return new Set(
        (returned as { name: string; type: string }[])
          .filter(isImitated)
          .map((entry) => entry.name + entry.type),
      );
    case "qom-get":
      return isValueImitated(request) ? returned : typeof returned;
    case "query-pci":
      return [...new Set(pciKeys(returned))].sort();
    default:
      return Array.isArray(returned) ? new Set(returned.map((entry) => JSON.stringify(entry))) : returned;
  }
}

/** Memory regions, and what only an emulated NIC has. */
function isImitated({ name, type }: { name: string; type: string }): boolean {
  const isLeftOut = ["child<memory-region>", "child<irq>"].includes(type) || NOT_IMITATED.has(name);
  return !isLeftOut;
}

const NOT_IMITATED = new Set([
  "x-migrate-msix",
  "subsys_ven",
  "init-vet",
  "mac",
  "bootindex",
  "romfile",
  "romsize",
  "rombar",
]);

function isValueImitated(request: Message): boolean {
  return !NOT_IMITATED.has(argumentOf(request, "property") ?? "");
}

/** Paths of the keys that the reply has, as far as this program reads them (src/qmp/results.ts). */
function pciKeys(value: unknown, path = ""): string[] {
  if (Array.isArray(value)) {
    return value.flatMap((entry) => pciKeys(entry, path));
  }
  if (typeof value !== "object" || value === null) {
    return /\/(bus|slot|function|qdev_id|secondary|class|vendor|address|bar|type)$/.test(path) ? [path] : [];
  }
  return Object.entries(value).flatMap(([key, entry]) => pciKeys(entry, `${path}/${key}`));
}
