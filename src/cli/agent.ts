/** `pciplug agent`: the long-running service, in the foreground. */
import { Command, Option } from "commander";
import { type CliIo, DEFAULTS } from "./io.js";

/** From the fewest lines to the most. */
const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;

interface AgentOptions {
  readonly config: string;
  readonly state: string;
  readonly root: string;
  readonly observe?: boolean;
  readonly once?: boolean;
  readonly confirmDetach?: boolean;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly traceQmp?: string;
}

export function agentCommand(io: CliIo, version: string): Command {
  return new Command("agent")
    .description("watch the host and keep the rules, in the foreground; logs go to standard error")
    .option("-c, --config <file>", "the rules", DEFAULTS.config)
    .option("-s, --state <dir>", "folder of the ledger, the audit log and the control socket", DEFAULTS.state)
    .option(
      "--root <dir>",
      "another host root, below which /sys, /proc, /dev and /run are looked for",
      DEFAULTS.root,
    )
    .option("--observe", "decide and log everything, write nothing to the host or to VMs")
    .option("--once", "carry out one plan and end: 0 if nothing is left to do, else 2")
    .option("--confirm-detach", "let this file take more devices from VMs than limits.detachPerChange")
    .addOption(
      new Option("--log-level <level>", "how much is logged").choices(LOG_LEVELS).default(LOG_LEVELS[2]),
    )
    .option("--trace-qmp <dir>", "record the QMP traffic of each VM in a file of this folder")
    .action(async (options: AgentOptions) => {
      const { runAgent } = await import("../agent/entry.js");
      io.exit(
        await runAgent({
          version,
          configPath: options.config,
          stateDir: options.state,
          rootDir: options.root,
          isObserving: options.observe === true,
          isOnce: options.once === true,
          isDetachConfirmed: options.confirmDetach === true,
          logLevel: options.logLevel,
          traceDir: options.traceQmp ?? null,
        }),
      );
    });
}
