/** What a real QEMU lets be done while its guest is being moved, and what it tells of that. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { migrationPhase } from "../../src/core/vm.js";
import { refusalOf } from "../../src/qemu/refusal.js";
import { readView } from "../../src/qemu/view.js";
import { openWireRecording, type QmpClient, QmpCommandError } from "../../src/qmp/index.js";
import { startVm } from "../support/qemu-vm.js";

const PORTS = "-device pcie-root-port,id=rp0,chassis=1 -device pcie-root-port,id=rp1,chassis=2";
const golden = join(import.meta.dirname, "../../fixtures/qmp/7.2/7-migration.ndjson");
const SLOW = 4096;
const FAST = 4 * 1024 ** 3;

async function migrate(client: QmpClient, bytesPerSecond: number): Promise<void> {
  await client.executeRaw("migrate-set-parameters", { "max-bandwidth": bytesPerSecond });
  await client.executeRaw("migrate", { uri: "exec:cat > /dev/null" });
}

async function phase(client: QmpClient): Promise<string | null> {
  return migrationPhase(await readView(client, null));
}

async function until(client: QmpClient, wanted: string | null): Promise<void> {
  for (let found = await phase(client); found !== wanted; found = await phase(client)) {
    await delay(50);
  }
}

async function refusal(answer: Promise<unknown>): Promise<unknown> {
  const error = await answer.then(
    () => "accepted",
    (reason: unknown) => reason,
  );
  return error instanceof QmpCommandError ? refusalOf(error).reason : error;
}

/** The record without the passes: QEMU counts them in an event that nobody here needs. */
function withoutPasses(text: string): string {
  const lines = text.split("\n").filter((line) => !line.includes('"MIGRATION_PASS"'));
  return lines.join("\n");
}

describe("a guest that is being moved out of a real QEMU", () => {
  it("keeps every device where it is until the migration has ended, and what has moved away says so", async () => {
    const folder = mkdtempSync(join(tmpdir(), "pciplug-migration-"));
    const file = join(folder, "wire.ndjson");
    const note = `argv: qemu-system-x86_64 -M q35 -accel tcg -S -m 64 -display none -nodefaults ${PORTS}; events MIGRATION_PASS left out`;
    const recording = openWireRecording(file, { nowMs: () => performance.now(), note });
    try {
      await using running = await startVm({ args: PORTS }, { onWire: recording.tap });
      const { client } = running;
      await client.execute("device_add", { driver: "e1000e", id: "d0", bus: "rp0", addr: "0" });
      await client.execute("cont");
      expect(await phase(client)).toBeNull();

      await migrate(client, SLOW);
      await until(client, "active");
      const d1 = { driver: "e1000e", id: "d1", bus: "rp1", addr: "0" };
      expect(await refusal(client.execute("device_add", d1))).toBe("migrating");
      expect(await refusal(client.execute("device_del", { id: "d0" }))).toBe("migrating");
      await client.executeRaw("migrate_cancel");
      await until(client, null);

      const capabilities = [{ capability: "events", state: true }];
      await client.executeRaw("migrate-set-capabilities", { capabilities });
      const completed = client.waitFor("MIGRATION", ({ status }) => status === "completed", {
        timeoutMs: 60_000,
      });
      await migrate(client, FAST);
      await completed;
      // The event may come before the run state.
      await until(client, "postmigrate");
    } finally {
      recording.close();
      if (process.env["UPDATE_GOLDEN"] === "1") {
        writeFileSync(golden, withoutPasses(readFileSync(file, "utf8")));
      }
      rmSync(folder, { recursive: true, force: true });
    }
    expect(existsSync(golden), `run with UPDATE_GOLDEN=1 to write ${golden}`).toBe(true);
  });
});

describe("a QEMU that waits for a guest to come in", () => {
  it("says so in its run state, though it would take a device that the guest does not know of", async () => {
    await using running = await startVm({ args: `${PORTS} -incoming defer` });
    const { client } = running;
    expect(await phase(client)).toBe("inmigrate");
    await client.execute("device_add", { driver: "e1000e", id: "d0", bus: "rp0", addr: "0" });
    expect((await readView(client, null)).ports[0]?.state.kind).toBe("plugged");
  });
});
