import assert from "node:assert/strict";
import { story } from "../story.js";
import { assertNothingLeft, entryOf, ruleFor, untilGivenBack, untilInVm, untilOutOfVm } from "../witness.js";

/** A paused VM whose ports plug by ACPI lets nothing go: nobody in it answers (facts.md 5). */
export const stubbornRemoval = story(
  "a card pulled while an unco-operative VM holds it blocks the kernel, but neither the agent nor another VM",
  { number: 17, name: "stubborn-removal" },
  async (lab) => {
    const stubborn = await lab.vm({ name: "stubborn", hotplug: "acpi", state: "paused" });
    const other = await lab.vm({ name: "other", hotplug: "native", state: "paused" });
    const [card, next] = [await lab.cards.plug("nvme", 1), await lab.cards.plug("nvme", 2)];
    await lab.cards.untilHostDriver(next);
    const rules = [ruleFor(card.address, stubborn)];
    const vms = [entryOf(stubborn), entryOf(other)];
    const agent = lab.agent();
    await agent.start({ vms, rules });
    await untilInVm(lab, stubborn, card);

    const pulled = lab.cards.pull(card);
    pulled.catch(() => undefined);
    const isAsked = "dmesg | grep -q 'Device is currently in use\\|Relaying device request'";
    await lab.host.until("the kernel waits for the VM to let go", isAsked);
    lab.saw("the card is being pulled: the kernel waits for the VM");

    await agent.replaceFile({ vms, rules: [...rules, ruleFor(next.address, other)] });
    await untilInVm(lab, other, next);
    const listed = (await stubborn.devices()).map(({ host }) => host);
    assert.deepEqual(listed, [card.address], "the stubborn VM still has its card");
    assert.equal(await agent.stop(), 0, "SIGTERM ends the agent in good order all the same");
    await agent.start({ vms, rules: [...rules, ruleFor(next.address, other)] });
    lab.saw("meanwhile another card went into another VM, and the agent was restarted");

    await stubborn.kill();
    await pulled;
    lab.saw("the VM has died, and the kernel has let the card go");
    await lab.until(
      "the ledger holds no entry for the card",
      async () => !(await agent.ledger()).includes(card.address),
    );
    assert.equal(await lab.host.facts(card.address), null);
    await agent.replaceFile({ vms, rules });
    await untilOutOfVm(lab, other, next);
    await untilGivenBack(lab, next);
    await assertNothingLeft(lab);
  },
);
