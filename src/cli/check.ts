/** `pciplug check`: whether the file is good, where it is not, and what on this host is worth a second look. */
import { Command } from "commander";
import { counted } from "../base/counted.js";
import { printable } from "../base/printable.js";
import { formatIssues, loadConfig, parseConfig } from "../config/load.js";
import { EXIT } from "../core/exit-code.js";
import { lint, type Warning } from "../core/lint.js";
import type { Policy } from "../core/policy.js";
import { setScene } from "../core/scene.js";
import { type InventoryOptions, withInventoryOptions } from "./inventory.js";
import { type CliIo, DEFAULTS, renderJson } from "./io.js";
import { lookOffline } from "./offline-world.js";

interface CheckOptions extends InventoryOptions {
  readonly config: string;
  readonly strict?: boolean;
  readonly json?: boolean;
}

/** Names of standard input: whoever writes to it could run the command as well, so nobody's rights are looked at. */
const STDIN: readonly string[] = ["-", "/dev/stdin"];

export function checkCommand(io: CliIo): Command {
  return withInventoryOptions(new Command("check"))
    .description("validate the file with the rules")
    .argument("[file]", "the file; - for standard input", undefined)
    .option("-c, --config <file>", "the same, as the other commands call it", DEFAULTS.config)
    .option("--strict", "look at the host too, and exit with 2 if something there is worth a warning")
    .option("--json", "print issues and warnings as JSON")
    .action(async (file: string | undefined, options: CheckOptions, command: Command) => {
      if (file !== undefined && command.getOptionValueSource("config") === "cli") {
        command.error(`error: say one file, not both ${file} and --config ${options.config}`);
      }
      const path = file ?? options.config;
      const loaded = await load(io, path);
      if (!loaded.ok) {
        tell(io, options, { ok: false, issues: loaded.error, remarks: [], warnings: [] });
        io.exit(EXIT.badFile);
        return;
      }
      const { policy, remarks } = loaded.value;
      const isLooking = options.strict === true || options.host !== undefined;
      const warnings = isLooking ? lint(setScene(await lookOffline(io, options, policy))) : [];
      if (options.json !== true) {
        io.out(`${path}: ok (${summary(policy, warnings)})`);
      }
      tell(io, options, { ok: true, issues: [], remarks, warnings });
      io.exit(options.strict === true && warnings.length > 0 ? EXIT.held : EXIT.ok);
    });
}

async function load(io: CliIo, path: string): ReturnType<typeof loadConfig> {
  return STDIN.includes(path)
    ? parseConfig(await io.input(), path)
    : await loadConfig(path, { trustedUid: io.uid });
}

type Issues = Parameters<typeof formatIssues>[0];

interface Findings {
  readonly ok: boolean;
  readonly issues: Issues;
  readonly remarks: Issues;
  readonly warnings: readonly Warning[];
}

function tell(io: CliIo, { json }: CheckOptions, found: Findings): void {
  if (json === true) {
    io.out(renderJson({ schema: "pciplug-check/1", ...found }));
    return;
  }
  for (const issues of [found.issues, found.remarks].filter(({ length }) => length > 0)) {
    io.err(formatIssues(issues));
  }
  for (const { message } of found.warnings) {
    io.err(printable(`warning: ${message}`));
  }
}

function summary(policy: Policy, warnings: readonly Warning[]): string {
  const parts = [counted(policy.vms.length, "VM"), counted(policy.rules.length, "rule")];
  return [...parts, ...(warnings.length === 0 ? [] : [counted(warnings.length, "warning")])].join(", ");
}
