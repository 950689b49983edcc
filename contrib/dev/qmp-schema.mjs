// npm run qmp-schema [-- QEMU...]: do the hand-written types of src/qmp hold for the installed QEMU, and what changed since
// the one they were written for (the recorded schema in fixtures/qmp/7.2)? Prints both; ends with 1 on a mismatch.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  connectQmp,
  describeSchemaEntity,
  findSchemaMismatches,
  namesInUse,
  parseWireRecording,
  QmpConnectError,
} from "../../dist/qmp/index.js";

const START_DEADLINE_MS = 30_000;
const recording = new URL("../../fixtures/qmp/7.2/pciplug-queries.ndjson", import.meta.url);

/** The schema the types were written for. */
function recordedSchema() {
  const [connection = []] = parseWireRecording(readFileSync(recording, "utf8"));
  const replies = connection.map(({ msg }) => msg.return);
  return replies.find((reply) => Array.isArray(reply) && reply[0]?.["meta-type"] !== undefined);
}

async function connected(path, child) {
  const deadline = performance.now() + START_DEADLINE_MS;
  for (;;) {
    try {
      return await connectQmp({ path });
    } catch (error) {
      const isStarting =
        error instanceof QmpConnectError && ["qmp.absent", "qmp.refused"].includes(error.code);
      if (!isStarting || child.exitCode !== null || performance.now() > deadline) {
        throw error;
      }
      await delay(20);
    }
  }
}

/** Asks a machine without anything in it, which never runs. */
async function installedSchema(program) {
  const folder = mkdtempSync(join(tmpdir(), "pciplug-schema-"));
  const path = join(folder, "qmp.sock");
  const args = [
    "-M",
    "none",
    "-S",
    "-display",
    "none",
    "-nodefaults",
    "-qmp",
    `unix:${path},server=on,wait=off`,
  ];
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  await once(child, "spawn");
  const exited = once(child, "exit");
  try {
    const client = await connected(path, child);
    const { major, minor, micro } = client.greeting.version.qemu;
    return { version: `${major}.${minor}.${micro}`, schema: await client.execute("query-qmp-schema") };
  } finally {
    child.kill("SIGKILL");
    await exited;
    rmSync(folder, { recursive: true });
  }
}

function printChanges(before, after) {
  let changes = 0;
  for (const name of namesInUse()) {
    const was = new Set(describeSchemaEntity(before, name));
    const is = new Set(describeSchemaEntity(after, name));
    const lines = [
      ...[...was].filter((line) => !is.has(line)).map((line) => `  - ${line}`),
      ...[...is].filter((line) => !was.has(line)).map((line) => `  + ${line}`),
    ];
    changes += lines.length;
    for (const line of lines) {
      console.log(line);
    }
  }
  console.log(changes === 0 ? "  nothing changed" : `  ${changes} lines differ`);
}

const programs = process.argv.length > 2 ? process.argv.slice(2) : ["qemu-system-x86_64"];
const recorded = recordedSchema();
for (const program of programs) {
  const { version, schema } = await installedSchema(program);
  console.log(`${program} ${version}, ${namesInUse().length} commands and events in use`);
  console.log("changed since the recorded QEMU 7.2:");
  printChanges(recorded, schema);
  const mismatches = findSchemaMismatches(schema);
  console.log(mismatches.length === 0 ? "our types hold" : "our types do NOT hold:");
  for (const { place, what } of mismatches) {
    console.log(`  ${place}: ${what}`);
    process.exitCode = 1;
  }
}
