/**
 * One pass of one lane: plan from the newest world, do the first step, plan again, until nothing is left to do.
 *
 * A step is executed only if a fresh look at the host still calls for it; its line is in the audit, on disk, before.
 */
import type { AgentError } from "../base/error.js";
import { plan } from "../core/plan.js";
import type { SceneCache } from "../core/scene.js";
import type { Signal } from "../core/signal.js";
import type { Outcome, Step } from "../core/step.js";
import { execute } from "./executor.js";
import type { Deed, Tools } from "./tools.js";

export interface LaneDeps {
  readonly scenes: SceneCache;
  readonly tools: Tools;
  readonly post: (signals: readonly Signal[]) => void;
  /** Resolves once the line is on disk. @throws {AgentError} when it cannot be written. */
  readonly announce: (step: Step) => Promise<void>;
  readonly isStopping: () => boolean;
}

/** Makes the pass function of the workqueue. */
export function createPass(deps: LaneDeps): (lane: string) => Promise<void> {
  const { scenes } = deps;
  return async (lane) => {
    let last = "";
    while (!deps.isStopping()) {
      const world = deps.tools.world();
      const step = plan(world, lane, scenes.of(world)).steps[0];
      if (step === undefined || world.mode === "observe") {
        return;
      }
      if (touchesHost(step)) {
        deps.post(await visit(deps.tools, step));
        // Told as soon as it is there: another lane's look may be newer a moment later.
        deps.post([await deps.tools.eye.look("step")]);
        const fresh = deps.tools.world();
        if (!isSame(step, plan(fresh, lane, scenes.of(fresh)).steps[0])) {
          continue;
        }
      }
      const key = JSON.stringify(step);
      await perform(deps, lane, step, key === last);
      last = key;
    }
  };
}

async function perform(deps: LaneDeps, lane: string, step: Step, isRepeated: boolean): Promise<void> {
  const { tools, post } = deps;
  post([{ kind: "step-started", atMs: tools.now(), lane, step }]);
  const refusal = await announcement(deps, step);
  const deed: Deed = refusal === null ? await execute(step, tools) : { outcome: refusal, seen: [] };
  const outcome = isRepeated && isIdle(deed.outcome) ? noProgress(deed.outcome) : deed.outcome;
  const ended: Signal = { kind: "step-ended", atMs: tools.now(), lane, step, outcome };
  post([...deed.seen, ended, ...(deed.seenAfter ?? [])]);
}

function isIdle(outcome: Outcome): boolean {
  return outcome.kind === "done" || outcome.kind === "cancelled";
}

/** A step that ends well and is called for again at once has not changed what it should have: rest, do not spin. */
function noProgress(outcome: Outcome): Outcome {
  const said = outcome.kind === "cancelled" ? `was cancelled (${outcome.detail})` : "reported success";
  return {
    kind: "failed",
    code: "agent.no-progress",
    detail: `the step ${said}, yet it is called for again at once`,
  };
}

async function announcement(deps: LaneDeps, step: Step): Promise<Outcome | null> {
  try {
    await deps.announce(step);
    return null;
  } catch (error) {
    const { code, message } = error as AgentError;
    return { kind: "failed", code: code ?? "bug", detail: message };
  }
}

/**
 * A look at a VM whose monitor is shared: what is known of it may be hours old, and no driver is touched before the VM is
 * known to be ready (semantics.md 6).
 */
async function visit({ world, vm, now }: Tools, step: Step): Promise<readonly Signal[]> {
  const isShared = world().policy?.vms.find(({ name }) => name === step.vm)?.monitor === "shared";
  const status = isShared && step.kind !== "release" ? await vm(step.vm)?.look() : undefined;
  return status === undefined ? [] : [{ kind: "vm-seen", atMs: now(), vm: step.vm, status }];
}

function touchesHost(step: Step): boolean {
  return step.kind === "bind" || step.kind === "release" || step.kind === "attach";
}

function isSame(a: Step, b: Step | undefined): boolean {
  return b !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
