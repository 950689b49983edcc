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

describe("the ports of a real machine", () => {
  it.each(KNOWN_MACHINES)("are enumerated on $name before the guest has run", async (known) => {
    const folder = mkdtempSync(join(tmpdir(), "pciplug-view-"));
    try {
      const file = join(folder, "wire.ndjson");
      const note = `argv: qemu-system-x86_64 -M ${known.machine} -accel tcg -S -m 64 -display none -nodefaults ${known.args}`;
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

  it("take a device at once where they are free, and refuse it where they are not", async () => {
    await using running = await startVm(KNOWN_MACHINES[0]);
    const { client } = running;
    const { ports } = await readView(client, null);
    const answers = await Promise.all(
      ports.map(async ({ bus, addr, state }) => {
        const answer = client.execute("device_add", { driver: "edu", id: `t-${bus}`, bus, addr });
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
  });
});
