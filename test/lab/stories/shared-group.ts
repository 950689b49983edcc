import assert from "node:assert/strict";
import { story } from "../story.js";
import { assertUntouched, entryOf, ruleFor, untilInVm } from "../witness.js";

interface PlanAnswer {
  readonly held: readonly { readonly address: string; readonly reason: { readonly message: string } }[];
}

export const sharedGroup = story(
  "a card whose IOMMU group a host driver shares is not taken, and plan names the blocker; two VMs get each their card",
  { number: 6, name: "shared-group" },
  async (lab) => {
    const [wanted, companion] = await lab.cards.plugPair(["nvme", "nvme"], 1);
    await lab.cards.untilHostDriver(wanted);
    await lab.cards.untilHostDriver(companion);
    const wantedBefore = await lab.host.facts(wanted.address);
    const companionBefore = await lab.host.facts(companion.address);
    assert.ok(wantedBefore && companionBefore);
    assert.equal(wantedBefore.iommuGroup, companionBefore.iommuGroup, "both functions share one IOMMU group");
    lab.saw(`${wanted.address} and ${companion.address} share IOMMU group ${wantedBefore.iommuGroup}`);

    const a = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const b = await lab.vm({ name: "b", hotplug: "native", state: "paused" });
    const forA = await lab.cards.addressOf(2);
    const forB = await lab.cards.addressOf(3);
    const rules = [ruleFor(wanted.address, a), ruleFor(forA, a), ruleFor(forB, b)];
    const agent = lab.agent();
    await agent.start({ vms: [entryOf(a), entryOf(b)], rules });

    const cardA = await lab.cards.plug("nvme", 2);
    const cardB = await lab.cards.plug("nvme", 3);
    await untilInVm(lab, a, cardA);
    await untilInVm(lab, b, cardB);

    const held = await lab.until("plan holds the card that shares its group", async () => {
      const plan = (await agent.query("plan")) as PlanAnswer;
      return plan.held.find(({ address }) => address === wanted.address);
    });
    assert.ok(
      held.reason.message.includes(companion.address),
      `"${held.reason.message}" names ${companion.address}`,
    );
    lab.saw(`plan says: ${held.reason.message}`);

    await assertUntouched(lab, wanted.address, wantedBefore);
    await assertUntouched(lab, companion.address, companionBefore);
    assert.deepEqual(
      (await a.devices()).map(({ host }) => host),
      [cardA.address],
    );
    assert.deepEqual(
      (await b.devices()).map(({ host }) => host),
      [cardB.address],
    );
    lab.saw("each VM has its one card; the shared group was not touched");
  },
);
