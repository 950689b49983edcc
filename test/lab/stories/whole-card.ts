import assert from "node:assert/strict";
import { story } from "../story.js";
import { assertNothingLeft, entryOf, untilGivenBack, untilInVm, untilOutOfVm } from "../witness.js";

export const wholeCard = story(
  "a card with two functions goes into one port as one, function 0 last, leaves it whole, and both are given back",
  { number: 14, name: "whole-card" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plugPair(["nvme", "nvme"], 1);
    for (const each of card) {
      await lab.cards.untilHostDriver(each);
    }
    const [first, second] = card;
    const rule = {
      name: "card",
      match: { address: `${first.address.slice(0, -1)}*`, class: "nvme" },
      vm: vm.plan.name,
      unit: "card",
      plug: "card",
    };
    const agent = lab.agent();
    const config = { vms: [entryOf(vm)], rules: [rule], limits: { detachPerChange: 2 } };
    await agent.start(config);

    const inside = [await untilInVm(lab, vm, first), await untilInVm(lab, vm, second)];
    assert.equal(new Set(inside.map(({ bus }) => bus)).size, 1, "both functions are in one port");
    const places = await vm.qmp(
      inside.map(({ id }) => ({
        execute: "qom-get",
        arguments: { path: `/machine/peripheral/${id}`, property: "legacy-addr" },
      })),
    );
    assert.deepEqual(places, ["00.0", "00.1"]);
    lab.saw(
      `${first.address} and ${second.address} are at ${places.join(" and ")} of port ${inside[0]?.bus}`,
    );

    assert.equal(await agent.stop(), 0, "SIGTERM ends the agent in good order");
    await agent.start({ ...config, rules: [] });
    for (const each of card) {
      await untilOutOfVm(lab, vm, each);
    }
    for (const each of card) {
      await untilGivenBack(lab, each);
    }
    await assertNothingLeft(lab);
    const holds = (await agent.audit()).filter((line) => line["event"] === "hold-made");
    assert.deepEqual(holds, [], "no function counts as thrown out by the guest");
    const requests = (await agent.audit()).filter(
      (line) => line["event"] === "step-started" && line["what"] === "detach",
    );
    assert.equal(requests.length, 1, "one request took the whole card out");
    lab.saw("one request took both functions out, and the host has them back");
  },
);
