/**
 * A real QEMU is brought to say each of its refusals that need no vfio, and what it says is understood. Those that need
 * vfio are told in the lab; refusal-proofs.ts has the list.
 */
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, it } from "vitest";
import type { RefusalReason } from "../../src/core/next-move.js";
import { type RefusalRow, refusalOf } from "../../src/qemu/refusal.js";
import { type QmpClient, QmpCommandError } from "../../src/qmp/index.js";
import { type QemuVm, type QemuVmOptions, startVm } from "../support/qemu-vm.js";
import type { REFUSAL_PROOFS } from "../support/refusal-proofs.js";

type Proofs = typeof REFUSAL_PROOFS;
type QemuRow = { [R in RefusalRow]: Proofs[R] extends { by: "qemu" } ? R : never }[RefusalRow];

interface Stage {
  readonly client: QmpClient;
  readonly vm: QemuVm;
  /** A folder that ends with the test. */
  readonly dir: string;
}

interface Provocation {
  readonly options?: (dir: string) => QemuVmOptions;
  /** The last of the promises is the one that is refused. */
  readonly provoke: (stage: Stage) => Promise<unknown>;
  readonly reason: RefusalReason;
}

const ROOT_PORT = "-device pcie-root-port,id=rp0,chassis=1,addr=5";
const NATIVE = "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off";
const withPort = () => ({ args: ROOT_PORT });

const add =
  (device: Readonly<Record<string, unknown>>) =>
  ({ client }: Pick<Stage, "client">): Promise<unknown> =>
    client.execute("device_add", { driver: "e1000e", id: "x", bus: "rp0", addr: "0", ...device });

/** A device that only exists as a folder, with or without an IOMMU group that nobody is bound to. */
function aFolderDevice(dir: string, group: string | null): Readonly<Record<string, string>> {
  const device = join(dir, "0000:01:00.0");
  mkdirSync(device);
  if (group !== null) {
    symlinkSync(join(dir, group), join(device, "iommu_group"));
  }
  return { driver: "vfio-pci", sysfsdev: device };
}

const PROVOCATIONS: Readonly<Record<QemuRow, Provocation>> = {
  "bus-cannot-hotplug": { provoke: add({ bus: "pcie.0" }), reason: "port-unusable" },
  "slot-invalid": {
    options: () => ({ args: `${NATIVE} -device pci-bridge,id=br,chassis_nr=1` }),
    provoke: add({ driver: "e1000", bus: "br" }),
    reason: "port-unusable",
  },
  "no-bus-of-its-kind": {
    options: () => ({ machine: "microvm" }),
    provoke: ({ client }) => client.execute("device_add", { driver: "e1000e", id: "x" }),
    reason: "port-unusable",
  },
  "bus-unknown": { provoke: add({ bus: "nosuch" }), reason: "port-unusable" },
  "bus-full": {
    options: () => ({ machine: "pc" }),
    provoke: async ({ client }) => {
      for (let slot = 1; slot <= 32; slot += 1) {
        await client.execute("device_add", { driver: "virtio-rng-pci", bus: "pci.0" });
      }
    },
    reason: "port-occupied",
  },
  "slot-in-use": {
    options: withPort,
    provoke: (stage) => add({ id: "first" })(stage).then(() => add({})(stage)),
    reason: "port-occupied",
  },
  "function-0-live": {
    options: withPort,
    provoke: (stage) => add({ id: "first" })(stage).then(() => add({ addr: "0.1" })(stage)),
    reason: "port-occupied",
  },
  "single-function": {
    options: withPort,
    provoke: (stage) => add({ id: "first", addr: "0.1" })(stage).then(() => add({})(stage)),
    reason: "port-occupied",
  },
  "id-in-use": { options: withPort, provoke: add({ id: "rp0" }), reason: "id-in-use" },
  "driver-unknown": { options: withPort, provoke: add({ driver: "nope" }), reason: "bad-arguments" },
  "property-unknown": { options: withPort, provoke: add({ nope: "1" }), reason: "bad-arguments" },
  "address-malformed": {
    options: withPort,
    provoke: add({ driver: "vfio-pci", host: "garbage" }),
    reason: "bad-arguments",
  },
  "argument-wrong": { options: withPort, provoke: add({ id: "0000:01:00.0" }), reason: "bad-arguments" },
  "no-host-given": { options: withPort, provoke: add({ driver: "vfio-pci" }), reason: "bad-arguments" },
  "guest-blinking": {
    options: (dir) => ({ args: `${NATIVE} ${ROOT_PORT} -qtest unix:${dir}/qtest,server=on,wait=off` }),
    provoke: async (stage) => {
      await add({})(stage);
      await blink(join(stage.dir, "qtest"), 5);
      await stage.client.execute("device_del", { id: "x" });
    },
    reason: "guest-busy",
  },
  migrating: {
    options: withPort,
    provoke: async (stage) => {
      // So slow that it is still under way when the device comes.
      await stage.client.executeRaw("migrate-set-parameters", { "max-bandwidth": 4096 });
      await stage.client.executeRaw("migrate", { uri: "exec:cat > /dev/null" });
      await add({})(stage);
    },
    reason: "migrating",
  },
  "unplug-pending": {
    options: withPort,
    provoke: async (stage) => {
      await add({})(stage);
      await stage.client.execute("device_del", { id: "x" });
      await stage.client.execute("device_del", { id: "x" });
    },
    reason: "unplug-pending",
  },
  "machine-not-made": {
    options: () => ({ args: `${ROOT_PORT} --preconfig` }),
    provoke: add({}),
    reason: "vm-not-ready",
  },
  "device-absent": {
    options: withPort,
    provoke: ({ client, dir }) => add({ driver: "vfio-pci", sysfsdev: join(dir, "nosuch") })({ client }),
    reason: "device-absent",
  },
  "no-iommu-group": {
    options: withPort,
    provoke: ({ client, dir }) => add(aFolderDevice(dir, null))({ client }),
    reason: "no-iommu",
  },
  "not-bound": {
    options: withPort,
    provoke: ({ client, dir }) => add(aFolderDevice(dir, "987654"))({ client }),
    reason: "not-bound",
  },
  "bus-path-wrong": { provoke: add({ bus: "/machine/nosuch" }), reason: "port-unusable" },
  "device-unknown": {
    provoke: ({ client }) => client.execute("device_del", { id: "nosuch" }),
    reason: "not-there",
  },
  "not-negotiated": {
    options: (dir) => ({ args: `-qmp unix:${dir}/second,server=on,wait=off` }),
    provoke: ({ dir }) => askUnnegotiated(join(dir, "second")),
    reason: "vm-not-ready",
  },
};

/** Sends a command right after the greeting, as no client of ours would, and throws the answer as a client does. */
async function askUnnegotiated(path: string): Promise<void> {
  const socket = connect(path);
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  await lines.next();
  socket.write('{"execute": "query-status"}\n');
  const { value } = await lines.next();
  socket.destroy();
  const { error } = JSON.parse(String(value)) as { error: { class: string; desc: string } };
  throw new QmpCommandError("query-status", error.class, error.desc);
}

/** Does what a guest does while it switches a slot on or off: lets the power indicator of a root port blink. */
async function blink(path: string, slot: number): Promise<void> {
  const socket = connect(path);
  await once(socket, "connect");
  const lines = createInterface(socket)[Symbol.asyncIterator]();
  const tell = async (line: string): Promise<number> => {
    socket.write(`${line}\n`);
    const { value } = await lines.next();
    return Number(String(value).split(" ")[1] ?? 0);
  };
  const select = (register: number): Promise<number> =>
    tell(`outl 0xcf8 0x${(0x8000_0000 + slot * 0x800 + (register & 0xfc)).toString(16)}`);
  const read = async (register: number): Promise<number> => {
    await select(register);
    return (await tell("inl 0xcfc")) >>> ((register & 3) * 8);
  };
  // PCI Local Bus Specification, 6.7: the capability list; PCI Express is 0x10, its Slot Control at 0x18.
  let at = (await read(0x34)) & 0xff;
  while (at !== 0 && ((await read(at)) & 0xff) !== 0x10) {
    at = ((await read(at)) >>> 8) & 0xff;
  }
  await select(at + 0x18);
  await tell("outw 0xcfc 0x200");
  socket.destroy();
}

async function refusalIn({ options, provoke }: Provocation): Promise<{ qmpClass: string; desc: string }> {
  const dir = mkdtempSync(join(tmpdir(), "pciplug-refusal-"));
  try {
    await using running = await startVm(options?.(dir) ?? {});
    const said: unknown = await provoke({ ...running, dir }).catch((error: unknown) => error);
    if (said instanceof QmpCommandError) {
      return { qmpClass: said.qmpClass, desc: said.desc };
    }
    throw new Error("QEMU did not refuse", { cause: said });
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe("a real QEMU's refusal", () => {
  it.each(Object.entries(PROVOCATIONS))("for %s is understood", async (row, provocation) => {
    const error = await refusalIn(provocation);
    expect(refusalOf(error), error.desc).toMatchObject({ row, reason: provocation.reason });
  });
});
