/** `pciplug check`: whether the file is good, and where it is not. */
import { Command } from "commander";
import { formatIssues, loadConfig } from "../config/load.js";
import { EXIT } from "../core/exit-code.js";
import type { Policy } from "../core/policy.js";
import { type CliIo, DEFAULTS, renderJson } from "./io.js";

export function checkCommand(io: CliIo): Command {
  return new Command("check")
    .description("validate the file with the rules")
    .argument("[file]", "the file", undefined)
    .option("-c, --config <file>", "the same, as the other commands call it", DEFAULTS.config)
    .option("--json", "print the issues as JSON")
    .action(async (file: string | undefined, options: { config: string; json?: boolean }) => {
      const path = file ?? options.config;
      const loaded = await loadConfig(path, { trustedUid: io.uid });
      if (options.json === true) {
        io.out(
          renderJson(
            loaded.ok
              ? { ok: true, issues: [], remarks: loaded.value.remarks }
              : { ok: false, issues: loaded.error },
          ),
        );
      } else if (loaded.ok) {
        io.out(`${path}: ok (${summary(loaded.value.policy)})`);
        if (loaded.value.remarks.length > 0) {
          io.err(formatIssues(loaded.value.remarks));
        }
      } else {
        io.err(formatIssues(loaded.error));
      }
      io.exit(loaded.ok ? EXIT.ok : EXIT.badFile);
    });
}

function summary(policy: Policy): string {
  const count = (n: number, noun: string) => `${n} ${noun}${n === 1 ? "" : "s"}`;
  return `${count(policy.vms.length, "VM")}, ${count(policy.rules.length, "rule")}`;
}
