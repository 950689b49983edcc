/** What the ledger and the pins keep in step with while a device is in its VM: the rule that gave it may be edited. */
import { describe, expect, it } from "vitest";
import { assign } from "../../../src/core/assign.js";
import { identityOf } from "../../../src/core/device.js";
import { NO_INTENTS } from "../../../src/core/intent.js";
import type { Rule, RuleTraits } from "../../../src/core/policy.js";
import { reduce } from "../../../src/core/reduce.js";
import type { World } from "../../../src/core/world.js";
import { aDevice, aLease, aPolicy, aRule, attached, aWorld, up } from "../../support/builders.js";
import { runToRest } from "../../support/perfect.js";

const card = aDevice("0000:65:00.0", { driver: "vfio-pci" });

function ruleWith(traits: Partial<RuleTraits>): Rule {
  return aRule("r", { address: card.address }, "a", traits);
}

const running = aWorld({
  devices: [card],
  policy: aPolicy([ruleWith({})]),
  vms: { a: up({ attached: [attached(card.address)] }) },
  leases: [aLease(card, "a", { rule: "r" })],
});

function withRules(world: World, rules: readonly Rule[], version: string): World {
  return reduce(world, {
    kind: "policy-loaded",
    atMs: world.nowMs,
    policy: aPolicy(rules, { version }),
  });
}

describe("a rule that is edited while its device is in the VM", () => {
  it("keeps the device after it is gone, where it came to say so meanwhile", () => {
    const edited = runToRest(withRules(running, [ruleWith({ onRuleGone: "keep" })], "v2"));
    expect(edited.steps.map(({ kind }) => kind)).toEqual(["renew"]);
    const gone = runToRest(withRules(edited.world, [], "v3"));
    expect(gone.steps).toEqual([]);
    expect(gone.world.leases.get(card.address)).toMatchObject({ isKeptWithoutRule: true });
  });

  it("lets the device go again, where it has taken that back", () => {
    const kept = runToRest(withRules(running, [ruleWith({ onRuleGone: "keep" })], "v2"));
    const plain = runToRest(withRules(kept.world, [ruleWith({})], "v3"));
    expect(plain.world.leases.get(card.address)).not.toHaveProperty("isKeptWithoutRule");
    const gone = runToRest(withRules(plain.world, [], "v4"));
    expect(gone.steps.map(({ kind }) => kind)).toEqual(["detach", "release"]);
  });

  it("learns the card that is there, where it is pinned from now on", () => {
    const { world } = runToRest(withRules(running, [ruleWith({ isPinned: true })], "v2"));
    expect(world.intents.pins).toMatchObject([{ rule: "r", address: card.address }]);
  });
});

describe("a card that was learnt twice, at last with its serial number", () => {
  it("does not let a twin in", () => {
    const pin = { rule: "r", address: card.address, path: null, identity: identityOf(card) };
    const pins = [
      { ...pin, serial: null },
      { ...pin, serial: "00-01" },
    ];
    const given = (serial: string) => {
      const policy = aPolicy([ruleWith({ isPinned: true })]);
      const world = aWorld({ devices: [{ ...card, serial }], policy }, { intents: { ...NO_INTENTS, pins } });
      return [...assign(world).byDevice.keys()];
    };
    expect([given("00-01"), given("00-02")]).toEqual([[card.address], []]);
  });
});
