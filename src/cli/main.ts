#!/usr/bin/env node
/** The `pciplug` program: the only place of the command line that touches the process itself. */
import { readFileSync } from "node:fs";
import { runProgram } from "./program.js";

/** As `unavailable` (core/exit-code.ts): what is needed to answer is not there. */
const CANNOT_WRITE = 69;
const MINIMUM_NODE = [20, 19] as const;

function isNodeOldEnough(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  return major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1]);
}

function ownVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}

async function readInput(): Promise<string> {
  let whole = "";
  for await (const part of process.stdin.setEncoding("utf8")) {
    whole += String(part);
  }
  return whole;
}

if (isNodeOldEnough()) {
  let failed = false;
  // A reader that leaves early (`pciplug devices | head`) is no failure, and must not end an agent.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") {
        // A full disk: half an answer must not pass for a whole one.
        process.stderr.write(`pciplug: cannot write its output: ${error.message}\n`);
        process.exitCode = CANNOT_WRITE;
        failed = true;
      }
    });
  }
  await runProgram(
    {
      out: (line) => process.stdout.write(`${line}\n`),
      err: (line) => process.stderr.write(`${line}\n`),
      ...(process.stdout.columns > 0 ? { columns: process.stdout.columns } : {}),
      input: readInput,
      now: Date.now,
      uid: process.getuid?.() ?? 0,
      exit: (code) => {
        process.exitCode = failed ? CANNOT_WRITE : code;
      },
    },
    ownVersion(),
    process.argv.slice(2),
  );
} else {
  process.stderr.write(
    `pciplug: needs Node.js ${MINIMUM_NODE.join(".")} or newer, this is ${process.versions.node} (https://nodejs.org; Debian 12 itself ships 18)\n`,
  );
  process.exitCode = 69;
}
