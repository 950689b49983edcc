#!/usr/bin/env node
/** The `pciplug` program: the only place of the command line that touches the process itself. */
import { readFileSync } from "node:fs";
import { runProgram } from "./program.js";

const MINIMUM_NODE = [20, 19] as const;

function isNodeOldEnough(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  return major > MINIMUM_NODE[0] || (major === MINIMUM_NODE[0] && minor >= MINIMUM_NODE[1]);
}

function ownVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}

if (isNodeOldEnough()) {
  // A reader that leaves early (`pciplug devices | head`) is no failure, and must not end an agent.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => undefined);
  }
  await runProgram(
    {
      out: (line) => process.stdout.write(`${line}\n`),
      err: (line) => process.stderr.write(`${line}\n`),
      uid: process.getuid?.() ?? 0,
      exit: (code) => {
        process.exitCode = code;
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
