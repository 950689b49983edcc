/** When the agent may say that it is ready, and the line in which it says so (semantics.md 10). */
import { SOURCE_NAMES } from "../core/policy.js";
import { evaluateSelector } from "../core/selector.js";
import type { World } from "../core/world.js";

/** Whether every VM was reached or found absent, busy or silent, and every source is up or reported missing. */
export function isReady(world: World): boolean {
  const vms = world.policy?.vms ?? [];
  return (
    world.isHostSeen &&
    vms.every((vm) => (world.vms.get(vm.name)?.kind ?? "unknown") !== "unknown") &&
    SOURCE_NAMES.every((name) => world.sources.has(name))
  );
}

/** `Ready: 2 VMs (1 up, 1 absent), 3 of 4 sources up, 12 devices`. */
export function readyLine(world: World): string {
  const vms = world.policy?.vms ?? [];
  const states = vms.map((vm) => world.vms.get(vm.name)?.kind ?? "unknown");
  const counts = (["up", "absent", "unreachable", "unknown"] as const).flatMap((kind) => {
    const count = states.filter((state) => state === kind).length;
    return count === 0 ? [] : [`${count} ${kind}`];
  });
  const up = [...world.sources.values()].filter((state) => state.kind === "up").length;
  const missing = [...world.sources].filter(([, state]) => state.kind === "missing").map(([name]) => name);
  const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;
  return [
    `Ready: ${plural(vms.length, "VM")}${counts.length === 0 ? "" : ` (${counts.join(", ")})`}`,
    `${plural(up, "source")} up${missing.length === 0 ? "" : ` (missing: ${missing.join(", ")})`}`,
    plural(world.devices.size, "device"),
    ...(world.mode === "observe" ? ["observing only"] : []),
  ].join(", ");
}

/** Names of the rules that match nothing now, in file order: a slip of the pen, or a card that is still to come. */
export function idleRules({ policy, devices }: World): readonly string[] {
  return (policy?.rules ?? [])
    .filter((rule) =>
      [...devices.values()].every((device) => evaluateSelector(rule.match, device).verdict === "no-match"),
    )
    .map((rule) => rule.name);
}
