/**
 * What the stories ask again and again of those who cannot be wrong: the kernel about a driver, QEMU about a device.
 * All of it is written as assertions with the fact in their words.
 */
import assert from "node:assert/strict";
import type { Agent, AgentConfig, AuditLine } from "./agent.js";
import type { Card } from "./cards.js";
import type { Facts } from "./host.js";
import type { Lab } from "./story.js";
import type { Vm, VmDevice } from "./vm.js";

/** A rule that gives the card in one place to one VM. Storage must be named by its class (semantics.md 2). */
export function ruleFor(address: string, vm: Vm): AgentConfig["rules"][number] {
  return {
    name: `to-${vm.plan.name}-${address.slice(5, 7)}`,
    match: { address, class: "nvme" },
    vm: vm.plan.name,
  };
}

/** The entry of the operator's file for a VM. */
export function entryOf(vm: Vm): AgentConfig["vms"][number] {
  return { name: vm.plan.name, qmp: vm.socket };
}

/** Waits until QEMU itself lists the card, and asserts that the kernel agrees. */
export async function untilInVm(lab: Lab, vm: Vm, card: Card): Promise<VmDevice & { facts: Facts }> {
  const device = await lab.until(`${card.address} is in VM ${vm.plan.name}, says QEMU`, async () =>
    (await vm.devices()).find(({ host }) => host === card.address),
  );
  assert.match(device.id, /^pciplug-/, "a device that the agent attached has the agent's prefix");
  const facts = await lab.host.facts(card.address);
  assert.ok(facts, `${card.address} is in sysfs`);
  assert.equal(facts.driver, "vfio-pci", `driver of ${card.address}`);
  assert.equal(facts.override, "vfio-pci", `driver_override of ${card.address}`);
  return { ...device, facts };
}

/** Waits until QEMU itself does not list the card any more. */
export async function untilOutOfVm(lab: Lab, vm: Vm, card: Card): Promise<void> {
  await lab.until(`${card.address} is out of VM ${vm.plan.name}, says QEMU`, async () =>
    (await vm.devices()).every(({ host }) => host !== card.address),
  );
}

/** Waits until the host driver has the card back, and asserts that no trace of us is left on it. */
export async function untilGivenBack(lab: Lab, card: Card): Promise<void> {
  await lab.cards.untilHostDriver(card);
  await lab.until(
    `${card.address} is back on ${card.driver} without an override, says the kernel`,
    async () => {
      const facts = await lab.host.facts(card.address);
      return facts?.driver === card.driver && facts.override === null;
    },
  );
}

/** Asserts that nobody wrote to a function since: the same driver by the same bind, the same override. */
export async function assertUntouched(lab: Lab, address: string, before: Facts): Promise<void> {
  assert.deepEqual(await lab.host.facts(address), before, `${address} was not touched`);
}

/** Asserts that the host holds on to nothing: no vfio-pci, no node below /dev/vfio, no override. */
export async function assertNothingLeft(lab: Lab): Promise<void> {
  assert.deepEqual(await lab.host.leftovers(), [], "nothing is left bound");
}

/** Asserts that the host driver has the card and nobody took it off, and gives the facts to compare with later. */
export async function factsOnHost(lab: Lab, card: Card): Promise<Facts> {
  await lab.cards.untilHostDriver(card);
  const facts = await lab.host.facts(card.address);
  assert.ok(facts, `${card.address} is in sysfs`);
  assert.equal(facts.driver, card.driver, `driver of ${card.address}`);
  return facts;
}

/** One device that waits, as `plan --json` tells it. */
export interface HeldEntry {
  readonly address: string;
  readonly reason: { readonly kind: string; readonly message: string };
}

/** Waits until the running agent's plan holds a device for a reason of that kind, and gives the sentence. */
export async function untilHeld(lab: Lab, agent: Agent, address: string, kind: string): Promise<string> {
  const held = await lab.until(`plan holds ${address} as ${kind}`, async () => {
    const plan = (await agent.query("plan")) as { source: string; held: readonly HeldEntry[] };
    assert.equal(plan.source, "agent");
    return plan.held.find((entry) => entry.address === address && entry.reason.kind === kind);
  });
  lab.saw(`plan says: ${address}: ${held.reason.message}`);
  return held.reason.message;
}

/** What `pciplug devices` says of the host's need of one device. */
export async function protectionOf(
  agent: Agent,
  address: string,
): Promise<{ because: string; level: string; isLiftable: boolean } | null> {
  const answer = (await agent.query("devices")) as {
    devices: {
      address: string;
      protection: { because: string; level: string; isLiftable: boolean } | null;
    }[];
  };
  const device = answer.devices.find((entry) => entry.address === address);
  assert.ok(device, `pciplug devices lists ${address}`);
  return device.protection;
}

/** The decisions about one device in the audit, in order. */
export async function decisionsOn(agent: Agent, address: string): Promise<AuditLine[]> {
  return (await agent.audit()).filter((line) => line["event"] === "decision" && line["address"] === address);
}

/** The writes about one function that the audit tells of. */
export async function writesTo(agent: Agent, address: string): Promise<AuditLine[]> {
  return (await agent.audit()).filter(
    (line) => line["event"] === "host-write" && JSON.stringify(line).includes(address),
  );
}

/** Asserts that the audit tells of no write to a function. */
export async function assertNoWrite(agent: Agent, address: string): Promise<void> {
  assert.deepEqual(await writesTo(agent, address), [], `the audit has no write to ${address}`);
}
