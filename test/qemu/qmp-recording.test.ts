/**
 * The recorder is the production code: it records a real conversation in the format the other tests replay.
 * With UPDATE_GOLDEN=1 the recording becomes fixtures/qmp/7.2/pciplug-queries.ndjson.
 */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectQmp, openWireRecording } from "../../src/qmp/index.js";
import { parseJson } from "../../src/qmp/json.js";
import { type QemuProcess, startQemu } from "../support/qemu-process.js";

const golden = join(import.meta.dirname, "../../fixtures/qmp/7.2/pciplug-queries.ndjson");
let qemu: QemuProcess;
beforeAll(async () => {
  qemu = await startQemu(["-device", "pcie-root-port,id=rp0,chassis=1,slot=1"]);
});
afterAll(async () => {
  await qemu[Symbol.asyncDispose]();
});

it("records every query of a real session, integers exact, in a file only its owner can read", async () => {
  const file = join(dirname(qemu.path), "wire.ndjson");
  {
    const note =
      "argv: qemu-system-x86_64 -M q35 -accel tcg -S -m 64 -display none -nodefaults -name wire-test -device pcie-root-port,id=rp0,chassis=1,slot=1";
    using recording = openWireRecording(file, { nowMs: () => performance.now(), note });
    await using client = await connectQmp({ path: qemu.path, onWire: recording.tap });
    await client.execute("query-name");
    await client.execute("query-uuid");
    await client.execute("query-version");
    await client.execute("query-status");
    await client.execute("query-memory-size-summary");
    await client.execute("query-pci");
    await client.execute("qom-get", { path: "/machine/peripheral/rp0", property: "pref64-reserve" });
    await client.execute("query-commands");
    await client.execute("query-qmp-schema");
    await client.execute("quit");
    await client.closed;
    expect(recording.failure).toBeUndefined();
  }
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const lines = readFileSync(file, "utf8").trimEnd().split("\n").map(parseJson) as {
    dir: string;
    msg: unknown;
  }[];
  expect(lines[0]).toMatchObject({ dir: "note" });
  expect(lines.at(-1)).toMatchObject({ dir: "server", msg: "<closed>" });
  expect(lines.map((line) => line.msg)).toContainEqual({ return: 2n ** 64n - 1n, id: 8 });
  expect(lines.filter((line) => line.dir === "client").length).toBe(11);
  if (process.env["UPDATE_GOLDEN"] === "1") {
    writeFileSync(golden, readFileSync(file));
  }
  expect(existsSync(golden), `run with UPDATE_GOLDEN=1 to write ${golden}`).toBe(true);
});
