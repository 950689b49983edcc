import assert from "node:assert/strict";
import { story } from "../story.js";
import { entryOf, ruleFor, untilInVm, untilOutOfVm } from "../witness.js";

export const vmRestarts = story(
  "a VM that was killed and started again on the same socket gets its cards back by itself",
  { number: 3, name: "vm-restarts" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plug("nvme", 1);
    await lab.cards.untilHostDriver(card);
    const agent = lab.agent();
    await agent.start({ vms: [entryOf(vm)], rules: [ruleFor(card.address, vm)] });
    const before = await untilInVm(lab, vm, card);

    await vm.kill();
    lab.saw("QEMU killed: its socket file stays behind");
    await vm.start();
    const after = await untilInVm(lab, vm, card);
    assert.equal(
      after.facts.binding,
      before.facts.binding,
      "the card stayed bound: a crash does not flap host drivers",
    );

    await lab.cards.pull(card);
    await untilOutOfVm(lab, vm, card);
    assert.ok(await agent.isRunning());
  },
);
