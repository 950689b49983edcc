/**
 * One function per kind of step: the only place where decisions become deeds.
 *
 * What a step has changed comes back as signals of one batch, the outcome last, so that the next plan is made from a
 * world that has seen it. Nothing here decides; everything here may be killed at any instruction.
 */
import { AgentError, messageOf } from "../base/error.js";
import type { Step, StepKind, StepOf } from "../core/step.js";
import {
  adoptDevice,
  bindUnit,
  forgetLease,
  quarantineDevice,
  releaseDevice,
  renewLease,
} from "./steps-host.js";
import { attachUnit, detachDevice, raiseVmMemlock, resetMachine } from "./steps-vm.js";
import type { Deed, Tools } from "./tools.js";

type Executor = { readonly [K in StepKind]: (step: StepOf<K>, tools: Tools) => Promise<Deed> };

const executor: Executor = {
  bind: bindUnit,
  attach: attachUnit,
  detach: detachDevice,
  reset: resetMachine,
  release: releaseDevice,
  forget: forgetLease,
  quarantine: quarantineDevice,
  renew: renewLease,
  adopt: adoptDevice,
  "raise-memlock": raiseVmMemlock,
};

/** Does one step. Never throws: what is thrown below becomes `failed` with its code. */
export async function execute(step: Step, tools: Tools): Promise<Deed> {
  try {
    return await run(step, tools);
  } catch (error) {
    const code = error instanceof AgentError ? error.code : "bug";
    return { outcome: { kind: "failed", code, detail: messageOf(error) }, seen: [] };
  }
}

function run<K extends StepKind>(step: StepOf<K>, tools: Tools): Promise<Deed> {
  const perform = executor[step.kind as K] as (step: StepOf<K>, tools: Tools) => Promise<Deed>;
  return perform(step, tools);
}
