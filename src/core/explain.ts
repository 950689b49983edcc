/** One question, one answer: a device, a VM or a rule. The same for the running agent and for a recorded host. */
import { err, ok, type Result } from "../base/result.js";
import { type PciAddress, parseAddress } from "./address.js";
import {
  EXIT,
  type ExitCode,
  exitCodeOfHeld,
  exitCodeOfPlan,
  exitCodeOfRule,
  weightiest,
} from "./exit-code.js";
import { explainDevice } from "./explain-device.js";
import { explainRule } from "./explain-rule.js";
import { explainVm } from "./explain-vm.js";
import type { Explanation, RuleExplanation } from "./explanation.js";
import type { PlanReport } from "./report.js";
import { type Scene, setScene } from "./scene.js";
import type { World } from "./world.js";

/** What `explain` is asked about; the address may lack its domain where that leaves no doubt. */
export type Question =
  | { readonly about: "device"; readonly address: string }
  | { readonly about: "vm"; readonly name: string }
  | { readonly about: "rule"; readonly name: string };

/** Why there is no answer. `absent`: no such device on this host; `unknown`: the question names nothing there is. */
export interface NoAnswer {
  readonly kind: "absent" | "unknown";
  readonly message: string;
}

/** Explains whatever is asked about. */
export function explain(
  world: World,
  question: Question,
  source: PlanReport["source"],
  scene: Scene = setScene(world),
): Result<Explanation, NoAnswer> {
  const { policy } = world;
  switch (question.about) {
    case "device": {
      const address = findAddress(question.address, world);
      if (!address.ok) {
        return address;
      }
      const device = world.devices.get(address.value);
      return device === undefined
        ? err({ kind: "absent", message: `cannot explain ${address.value}: this host has no such device` })
        : ok(explainDevice(scene, device, source));
    }
    case "vm": {
      const known = (policy?.vms ?? []).map(({ name }) => name);
      return known.includes(question.name)
        ? ok(explainVm(scene, question.name, source))
        : err(unknown("VM", question.name, known));
    }
    case "rule": {
      const rule = policy?.rules.find(({ name }) => name === question.name);
      const known = (policy?.rules ?? []).map(({ name }) => name);
      return rule === undefined
        ? err(unknown("rule", question.name, known))
        : ok(explainRule(scene, rule, source));
    }
  }
}

function unknown(what: string, name: string, known: readonly string[]): NoAnswer {
  const there = known.length === 0 ? "there are none" : `there are ${known.join(", ")}`;
  return {
    kind: "unknown",
    message: `cannot explain ${what} ${name}: the file has none of that name; ${there}`,
  };
}

const SHORT_ADDRESS = /^[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i;

function findAddress(text: string, { devices }: World): Result<PciAddress, NoAnswer> {
  const full = parseAddress(text);
  if (full !== undefined) {
    return ok(full);
  }
  if (!SHORT_ADDRESS.test(text)) {
    const message = `cannot explain ${text}: not an address such as 0000:65:00.0 or 65:00.0`;
    return err({ kind: "unknown", message });
  }
  const [first, ...others] = [...devices.keys()].filter((address) =>
    address.endsWith(`:${text.toLowerCase()}`),
  );
  if (first === undefined) {
    return err({ kind: "absent", message: `cannot explain ${text}: this host has no such device` });
  }
  return others.length === 0
    ? ok(first)
    : err({
        kind: "unknown",
        message: `cannot explain ${text}: say which one is meant, ${[first, ...others].join(" or ")}`,
      });
}

/** The exit code that goes with an answer: that of the plan, for this device, VM or rule. */
export function exitCodeOfExplanation(answer: Explanation): ExitCode {
  switch (answer.about) {
    case "device": {
      const { kind, reason } = answer.verdict;
      if (reason !== null) {
        return exitCodeOfHeld(reason.kind);
      }
      return kind === "none" ? EXIT.noMatch : EXIT.ok;
    }
    case "vm":
      return exitCodeOfPlan(answer);
    case "rule":
      return exitCodeOfOne(answer);
  }
}

function exitCodeOfOne({ rule, devices }: RuleExplanation): ExitCode {
  const held = devices.flatMap(({ outcome }) => outcome.reason ?? []).map(exitCodeOfHeld);
  const open = devices.some(({ outcome }) => outcome.kind === "unknown") ? [EXIT.held] : [];
  const code = weightiest([...held, ...open, exitCodeOfRule(rule)]);
  return code === EXIT.ok && rule.matches === 0 ? EXIT.noMatch : code;
}
