/**
 * The life of the agent as a process: checks, state, composition, Ready, and the end.
 *
 * What ends it is decided here and nowhere else: a broken file, not being root, no IOMMU, a stop signal, a bug.
 */
import { clearTimeout, setTimeout } from "node:timers";
import { AgentError, messageOf } from "../base/error.js";
import { formatIssues, loadConfig } from "../config/load.js";
import { watchConfig } from "../config/watch.js";
import { EXIT, type ExitCode } from "../core/exit-code.js";
import { planAll } from "../core/plan.js";
import { childKernelIo, type KernelIo } from "../host/kernel-io.js";
import { type HostRoot, hostRoot } from "../host/root.js";
import { hasIommu, scanOnce } from "../host/scan.js";
import { openStateFolder } from "../host/state-folder.js";
import { type Composition, compose } from "./compose.js";
import type { ProcessEdge } from "./main.js";
import type { AgentOptions } from "./options.js";
import { idleRules, isReady, readyLine } from "./ready.js";

/** What the tests and the demo put in place of the real host. */
export interface ProcessSeams {
  readonly io?: KernelIo;
  /** Folders at and above this one are taken on trust: a temporary folder. */
  readonly trustedAbove?: string;
}

/** The line is printed within this time, whatever is not known by then (semantics.md 10). */
const READY_LIMIT_MS = 9_000;
/** SIGTERM ends the agent within 2 s (facts.md 5: a step may hang for ever). */
const STOP_LIMIT_MS = 1_500;

/**
 * Runs the agent to its end.
 *
 * @throws {AgentError} `agent.not-root`, `agent.no-iommu`, `host.no-sysfs`, `host.state-*`: nothing was begun.
 */
export async function runProcess(
  options: AgentOptions,
  edge: ProcessEdge,
  seams: ProcessSeams = {},
): Promise<ExitCode> {
  const beganMs = edge.now();
  // From the first moment: without a listener it would end the process. What comes before the watch stands is seen then.
  let reload = (): void => undefined;
  edge.onReloadSignal(() => reload());
  const root = hostRoot(options.rootDir);
  checkUser(root, edge, options);
  const load = () => loadConfig(options.configPath, { trustedUid: edge.uid });
  const loaded = await load();
  if (!loaded.ok) {
    edge.errStream.write(`${formatIssues(loaded.error)}\n`);
    return EXIT.badFile;
  }
  await checkHost(root);
  const folder = await openStateFolder(options.stateDir, seams.trustedAbove);
  const failure = createFailure();
  edge.onUncaught(failure.report);
  const parts = await compose({
    options,
    edge,
    root,
    io: seams.io ?? childKernelIo(),
    folder,
    policy: loaded.value.policy,
    // One plan is of one policy.
    ...(options.isOnce
      ? {}
      : { file: { path: options.configPath, load, news$: watchConfig(options.configPath) } }),
    onError: failure.report,
  });
  reload = () => {
    parts.log.info("Reading the file again", { signal: "SIGHUP" });
    parts.agent.post([{ kind: "reload-wanted", by: "signal" }]);
  };
  try {
    return await live(parts, options, edge, failure.happened, beganMs + READY_LIMIT_MS);
  } finally {
    await finish(parts);
    folder.close();
  }
}

function checkUser(root: HostRoot, edge: ProcessEdge, options: AgentOptions): void {
  if (edge.uid !== 0 && root.isLive && !options.isObserving) {
    throw new AgentError(
      "agent.not-root",
      "cannot move devices: must be root (agent --observe only looks, and needs no more than read access)",
    );
  }
}

async function checkHost(root: HostRoot): Promise<void> {
  if (!hasIommu(root)) {
    // Where sysfs itself is missing, this says so: then nothing is known of an IOMMU.
    await scanOnce(root);
    throw new AgentError(
      "agent.no-iommu",
      `cannot pass devices to VMs: this host has no IOMMU groups below ${root.iommuGroups()}; switch the IOMMU on in the firmware and boot with intel_iommu=on or amd_iommu=on`,
    );
  }
}

async function live(
  parts: Composition,
  options: AgentOptions,
  edge: ProcessEdge,
  failed: Promise<unknown>,
  readyByMs: number,
): Promise<ExitCode> {
  const { agent, log } = parts;
  const stop = edge.stopSignal();
  const fatal = failed.then((error): ExitCode => {
    log.error("Ending: something went wrong that nobody could answer for", {
      error: messageOf(error),
      ...(error instanceof Error && error.stack !== undefined ? { stack: error.stack } : {}),
    });
    return EXIT.bug;
  });
  const work = async (): Promise<ExitCode> => {
    await parts.start();
    await within(Math.max(0, readyByMs - edge.now()), agent.until(isReady));
    edge.out(readyLine(agent.world));
    for (const rule of idleRules(agent.world)) {
      log.info(`Rule ${rule} matches no device of this host as it is now`, { rule });
    }
    if (options.isOnce) {
      await agent.until((world) => world.inventoryMovedMs === null);
      await agent.settled();
      const { steps, held } = planAll(agent.world);
      return steps.length === 0 && held.length === 0 ? EXIT.ok : EXIT.held;
    }
    log.info("Stopping", { signal: await stop });
    return EXIT.ok;
  };
  return Promise.race([work(), fatal, stop.then((): ExitCode => EXIT.ok)]);
}

async function finish(parts: Composition): Promise<void> {
  await within(STOP_LIMIT_MS, parts.stop());
  parts.abandon();
}

/** Waits for a promise, but not for longer than the limit. */
async function within(limitMs: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([promise, limit]);
  clearTimeout(timer);
}

/** The first broken promise that nobody below could answer for. */
function createFailure(): { readonly happened: Promise<unknown>; readonly report: (error: unknown) => void } {
  let report: (error: unknown) => void = () => undefined;
  const happened = new Promise<unknown>((resolve) => {
    report = resolve;
  });
  return { happened, report: (error) => report(error) };
}
