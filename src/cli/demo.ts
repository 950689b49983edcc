/** `pciplug demo`: the main job on a simulated host; needs no root and no QEMU. */
import { Command } from "commander";
import type { CliIo } from "./io.js";

export function demoCommand(io: CliIo, version: string): Command {
  return new Command("demo")
    .description("show the main job on a simulated host: no root, no QEMU, ends by itself")
    .action(async () => {
      const { runDemo } = await import("../agent/entry.js");
      io.exit(await runDemo(version, io.out));
    });
}
