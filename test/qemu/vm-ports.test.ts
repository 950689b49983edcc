/** Ports as a real QEMU has them, before any firmware has run (-S): the time at which query-pci knows nothing. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readView } from "../../src/qemu/view.js";
import { openWireRecording } from "../../src/qmp/index.js";
import { portLines } from "../support/port-lines.js";
import { KNOWN_MACHINES } from "../support/qemu-machines.js";
import { startVm } from "../support/qemu-vm.js";

const goldens = join(import.meta.dirname, "../../fixtures/qmp/7.2");
/** A plain VM must take well under a hundred questions. */
const QUESTIONS_LIMIT = 100;

/** Those whose QEMU is there; of the others there are recordings, which the unit tests read. */
const INSTALLED = KNOWN_MACHINES.filter(({ binary = "qemu-system-x86_64" }) =>
  (process.env["PATH"] ?? "").split(":").some((folder) => existsSync(join(folder, binary))),
);

describe("the ports of a real machine", () => {
  it.each(INSTALLED)("are enumerated on $name before the guest has run", async (known) => {
    const folder = mkdtempSync(join(tmpdir(), "pciplug-view-"));
    try {
      const file = join(folder, "wire.ndjson");
      const note = `argv: ${known.binary ?? "qemu-system-x86_64"} -M ${known.machine} -accel tcg -S -m 64 -display none -nodefaults ${known.args}`;
      const recording = openWireRecording(file, { nowMs: () => performance.now(), note });
      {
        await using running = await startVm(known, { onWire: recording.tap });
        const view = await readView(running.client, null);
        expect(portLines(view.ports)).toEqual(known.ports);
        expect(view).toMatchObject({ runState: "prelaunch", memoryBytes: 64 * 1024 * 1024, attached: [] });
        expect(view.machine).toMatch(/machine$/);
        await running.client.close();
      }
      recording.close();
      const golden = join(goldens, `view-${known.name}.ndjson`);
      if (process.env["UPDATE_GOLDEN"] === "1") {
        writeFileSync(golden, readFileSync(file));
      }
      expect(existsSync(golden), `run with UPDATE_GOLDEN=1 to write ${golden}`).toBe(true);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("are read with few questions on a VM with eight ports", async () => {
    const args = Array.from({ length: 8 }, (_, n) => `-device pcie-root-port,id=rp${n},chassis=${n + 1}`);
    let questions = 0;
    await using running = await startVm(
      { args: args.join(" ") },
      {
        onWire: (record) => {
          questions += record.kind === "sent" ? 1 : 0;
        },
      },
    );
    const view = await readView(running.client, null);
    expect(view.ports.map((port) => port.state.kind)).toEqual(Array(8).fill("free"));
    expect(questions).toBeLessThan(QUESTIONS_LIMIT);
  });

  it.each(INSTALLED)(
    "take a device at once where they are free, and refuse it elsewhere, on $name",
    async (known) => {
      await using running = await startVm(known);
      const { client } = running;
      const { ports } = await readView(client, null);
      const answers = await Promise.all(
        ports.map(async ({ bus, addr, state }, index) => {
          const driver = known.binary === undefined ? "edu" : "virtio-rng-pci";
          const answer = client.execute("device_add", { driver, id: `t-${index}`, bus, addr });
          const didWork = await answer.then(
            () => true,
            () => false,
          );
          return didWork === (state.kind === "free");
        }),
      );
      expect(answers).toEqual(ports.map(() => true));
      const after = await readView(client, null);
      expect(after.ports.filter((port) => port.state.kind === "free")).toEqual([]);
    },
  );

  it("never include the bus of a switch's upstream port, though QEMU would take a device there", async () => {
    await using running = await startVm(KNOWN_MACHINES[0]);
    const { client } = running;
    const { ports } = await readView(client, null);
    expect(ports.map(({ bus }) => bus)).not.toContain("up");
    await client.execute("device_add", { driver: "edu", id: "lost", bus: "up", addr: "5" });
  });

  it("say whether QEMU's own firmware starts the guest", async () => {
    const folder = mkdtempSync(join(tmpdir(), "pciplug-flash-"));
    try {
      const flash = join(folder, "uefi.fd");
      writeFileSync(flash, Buffer.alloc(4 * 1024 * 1024));
      await using seabios = await startVm();
      await using other = await startVm({ args: `-drive if=pflash,format=raw,file=${flash}` });
      expect((await readView(seabios.client, null)).hasOwnFirmware).toBe(true);
      expect((await readView(other.client, null)).hasOwnFirmware).toBe(false);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
