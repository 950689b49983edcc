import assert from "node:assert/strict";
import { story } from "../story.js";
import { entryOf, untilGivenBack, untilInVm } from "../witness.js";

/** An emulated e1000e takes QEMU some seconds to realize, and blocks its monitors meanwhile (facts.md 1.2 and 12). */
export const killedInAdd = story(
  "a QEMU that is killed in the middle of device_add costs nothing: its next process gets the card, bound once",
  { number: 18, name: "killed-in-add" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plug("e1000e", 1);
    await lab.cards.untilHostDriver(card);
    const rule = { name: "nic", match: { address: card.address, class: "ethernet" }, vm: vm.plan.name };
    const agent = lab.agent();
    const config = { vms: [entryOf(vm)], rules: [rule] };
    await agent.start(config);
    await lab.until("QEMU was given device_add", async () => (await vm.hotplugCommands()).length > 0);
    await vm.kill();
    lab.saw("QEMU was killed before it answered");
    const before = await lab.host.facts(card.address);
    assert.equal(before?.driver, "vfio-pci");
    const isUnanswered = !(await agent.audit()).some(
      (line) =>
        line["event"] === "step-ended" &&
        line["what"] === "attach" &&
        (line["after"] as { kind?: string }).kind === "done",
    );
    assert.ok(isUnanswered, "the agent was not told that the card is in");

    await vm.start();
    const after = await untilInVm(lab, vm, card);
    assert.equal(after.facts.binding, before.binding, "the card stayed bound");
    assert.ok(await agent.isRunning());
    await agent.replaceFile({ ...config, rules: [] });
    await untilGivenBack(lab, card);
  },
);
