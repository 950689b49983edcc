import assert from "node:assert/strict";
import { story } from "../story.js";
import { assertNothingLeft, entryOf, ruleFor, untilGivenBack, untilInVm, untilOutOfVm } from "../witness.js";

export const ruleGoes = story(
  "a rule that is taken away gives its card back: out of the VM, on its original driver, override cleared",
  { number: 5, name: "rule-goes" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plug("nvme", 1);
    await lab.cards.untilHostDriver(card);
    const agent = lab.agent();
    const config = { vms: [entryOf(vm)], rules: [ruleFor(card.address, vm)] };
    await agent.start(config);
    await untilInVm(lab, vm, card);

    assert.equal(await agent.stop(), 0, "SIGTERM ends the agent in good order");
    assert.equal((await vm.devices()).length, 1, "its end leaves VMs and devices as they are");
    await agent.start({ ...config, rules: [] });
    await untilOutOfVm(lab, vm, card);
    await untilGivenBack(lab, card);
    await assertNothingLeft(lab);
    await lab.until("the ledger holds no entry for the card", async () => {
      return !(await agent.ledger()).includes(card.address);
    });
  },
);
