import assert from "node:assert/strict";
import type { Card } from "../cards.js";
import { type Lab, story } from "../story.js";
import type { Vm } from "../vm.js";
import { assertNothingLeft, entryOf, ruleFor, untilInVm, untilOutOfVm } from "../witness.js";

/** Story 1 of the order: the main job, once with a paused VM, once with a guest that is asked what it sees. */
export const plugAndPull = story(
  "a card plugged into the host reaches the VM; pulled out again it leaves nothing bound or pending",
  { number: 1, name: "plug-and-pull" },
  async (lab) => {
    const paused = await lab.vm({ name: "paused", hotplug: "native", state: "paused" });
    const running = await lab.vm({ name: "running", hotplug: "acpi", state: "guest" });
    const agent = lab.agent();
    const rules = [
      ruleFor(await lab.cards.addressOf(1), paused),
      ruleFor(await lab.cards.addressOf(2), running),
    ];
    lab.saw(await agent.start({ vms: [entryOf(paused), entryOf(running)], rules }));

    // Twice into the same port: whatever the first round left pending would stand in the way of the second.
    for (const round of ["first", "second"]) {
      const card = await lab.cards.plug("nvme", 1);
      await untilInVm(lab, paused, card);
      await pullAndLook(lab, paused, card);
      lab.saw(`${round} round with the paused VM done`);
    }

    const before = await running.guestSees();
    const card = await lab.cards.plug("nvme", 2);
    await untilInVm(lab, running, card);
    const id = `${card.vendor}:${card.product}`;
    assert.ok(!before.includes(id), "the guest had no such card before");
    await lab.until(`the running guest itself lists ${id}`, async () =>
      (await running.guestSees()).includes(id),
    );
    await pullAndLook(lab, running, card);
    assert.deepEqual(await running.guestSees(), before, "the guest sees what it saw before the plug");
    lab.saw("the running guest lists the card no more");

    assert.ok(await agent.isRunning());
    assert.ok(!(await agent.ledger()).includes(card.address), "the ledger holds no entry for the card");
  },
);

async function pullAndLook(lab: Lab, vm: Vm, card: Card): Promise<void> {
  await lab.cards.pull(card);
  await untilOutOfVm(lab, vm, card);
  assert.equal(await lab.host.facts(card.address), null, `${card.address} has left the host`);
  await assertNothingLeft(lab);
}
