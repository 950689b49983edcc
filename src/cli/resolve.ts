/** `pciplug resolve`: the same rules for a VM that is about to start, as arguments for QEMU. Asks nobody. */
import { Command, Option } from "commander";
import { printable } from "../base/printable.js";
import { EXIT } from "../core/exit-code.js";
import { type Resolution, resolve } from "../core/resolve.js";
import { environmentLines, qemuLine } from "../core/resolve-text.js";
import { withInventoryOptions } from "./inventory.js";
import { type CliIo, DEFAULTS, renderJson } from "./io.js";
import { loadWorld, type OfflineOptions } from "./offline-world.js";

const FORMATS = ["qemu", "json", "env"] as const;
type Format = (typeof FORMATS)[number];

interface ResolveOptions extends OfflineOptions {
  readonly vm: string;
  readonly format: Format;
  readonly partial?: boolean;
}

export function resolveCommand(io: CliIo): Command {
  return withInventoryOptions(new Command("resolve"))
    .description(
      "print what a VM that is about to start gets, as arguments for QEMU; nothing if it cannot be had",
    )
    .requiredOption("--vm <name>", "the VM")
    .option("-c, --config <file>", "the rules", DEFAULTS.config)
    .option(
      "-s, --state <dir>",
      "the agent's state folder: what is in quarantine, reserved or pinned",
      DEFAULTS.state,
    )
    .addOption(new Option("--format <format>", "how it is printed").choices(FORMATS).default(FORMATS[0]))
    .option("--partial", "leave out what is held instead of failing")
    .action(async (options: ResolveOptions) => {
      const world = await loadWorld(io, options);
      if (world === null) {
        io.exit(EXIT.badFile);
        return;
      }
      const resolved = resolve(world, options.vm, options.partial === true);
      if (!resolved.ok) {
        for (const reason of resolved.error.reasons) {
          io.err(`pciplug: cannot resolve ${printable(`${options.vm}: ${reason}`)}`);
        }
        io.exit(resolved.error.code);
        return;
      }
      for (const warning of warningsOf(resolved.value)) {
        io.err(printable(warning));
      }
      for (const line of linesOf(resolved.value, options.format)) {
        io.out(line);
      }
      io.exit(EXIT.ok);
    });
}

function warningsOf({ held, warnings }: Resolution): string[] {
  return [...warnings, ...held.map(({ address, reason }) => `${address} is left out: ${reason.message}`)];
}

function linesOf(resolution: Resolution, format: Format): readonly string[] {
  switch (format) {
    case "qemu":
      return [qemuLine(resolution)];
    case "env":
      return environmentLines(resolution);
    case "json":
      return [renderJson(resolution)];
  }
}
