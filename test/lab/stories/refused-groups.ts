import assert from "node:assert/strict";
import { assertRefusal } from "../refusals.js";
import { story } from "../story.js";
import {
  assertNothingLeft,
  entryOf,
  ruleFor,
  untilGivenBack,
  untilHeld,
  untilInVm,
  untilOutOfVm,
} from "../witness.js";

export const refusedGroups = story(
  "an IOMMU group that a host driver shares, or another QEMU has open, is refused in QEMU's words and waited for",
  { number: 15, name: "refused-groups" },
  async (lab) => {
    const a = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const b = await lab.vm({ name: "b", hotplug: "native", state: "paused" });
    const [first, second] = await lab.cards.plugPair(["nvme", "nvme"], 1);
    for (const card of [first, second]) await lab.cards.untilHostDriver(card);

    await lab.host.bindToVfio(first.address);
    await assertRefusal(lab, await a.addByHand(first.address, "f", "port1"), "group-not-viable");
    await lab.host.bindToVfio(second.address);
    assert.equal(await b.addByHand(second.address, "s", "port1"), null);
    await assertRefusal(lab, await a.addByHand(first.address, "f", "port1"), "group-busy");
    await assertRefusal(lab, await b.addByHand(second.address, "again", "port2"), "already-attached");
    await b.qmp([{ execute: "device_del", arguments: { id: "s" } }]);
    // QEMU closes the group a moment after it lists the device no more; until then no host driver gets a member of it.
    const node = `/dev/vfio/${(await lab.host.facts(second.address))?.iommuGroup}`;
    await lab.host.until(
      `nobody has ${node} open`,
      `! ls -l /proc/[0-9]*/fd 2>/dev/null | grep -qE '${node}$'`,
    );
    for (const card of [first, second]) await lab.host.giveBack(card.address);

    const card = await lab.cards.plug("nvme", 2);
    await lab.cards.untilHostDriver(card);
    await lab.host.bindToVfio(card.address);
    assert.equal(await b.addByHand(card.address, "theirs", "port1"), null);
    const agent = lab.agent();
    const config = { vms: [entryOf(a)], rules: [ruleFor(card.address, a)] };
    await agent.start(config);
    const why = await untilHeld(lab, agent, card.address, "group-busy");
    assert.ok(why.includes(`process ${b.pid}`), "the process that has it open is named");
    assert.deepEqual(await a.devices(), []);

    await b.kill();
    await untilInVm(lab, a, card);
    await agent.replaceFile({ ...config, rules: [] });
    await untilOutOfVm(lab, a, card);
    await agent.stop();
    await lab.host.giveBack(card.address);
    await untilGivenBack(lab, card);
    await assertNothingLeft(lab);
  },
);
