import assert from "node:assert/strict";
import { story } from "../story.js";
import {
  assertNothingLeft,
  assertUntouched,
  entryOf,
  factsOnHost,
  untilGivenBack,
  untilHeld,
  untilInVm,
} from "../witness.js";

export const selectAndReload = story(
  "a select rule keeps the card that it chose; more, and none, take effect when the file is replaced, the latter only when confirmed",
  { number: 12, name: "select-and-reload" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const select = (count: number) => ({
      vms: [entryOf(vm)],
      rules: [{ name: "some", match: { vendor: "1b36", class: "nvme" }, mode: "select", count, vm: "a" }],
    });
    // Not in the first port: a rule without a memory would later prefer the lower address.
    const chosen = await lab.cards.plug("nvme", 2);
    await lab.cards.untilHostDriver(chosen);
    const agent = lab.agent();
    await agent.start(select(1));
    const { facts } = await untilInVm(lab, vm, chosen);

    const lower = await lab.cards.plug("nvme", 1);
    const higher = await lab.cards.plug("nvme", 3);
    const lowerBefore = await factsOnHost(lab, lower);
    const higherBefore = await factsOnHost(lab, higher);
    for (const { address } of [lower, higher]) {
      await lab.until(`the agent knows ${address}`, async () =>
        (await agent.audit()).some(
          (line) => line["event"] === "device-appeared" && line["address"] === address,
        ),
      );
    }
    await assertUntouched(lab, chosen.address, facts);
    await assertUntouched(lab, lower.address, lowerBefore);
    assert.equal((await vm.hotplugCommands()).length, 1);
    lab.saw("two more of its kind are there: it stays the one");

    await agent.replaceFile(select(2));
    await untilInVm(lab, vm, lower);
    await assertUntouched(lab, chosen.address, facts);
    await assertUntouched(lab, higher.address, higherBefore);
    const commands = await vm.hotplugCommands();
    assert.equal(commands.length, 2, "one more device_add and nothing else");
    lab.saw("count: 2 took the lowest of the others; the first was not touched");

    const nothing = { vms: [entryOf(vm)], rules: [] };
    await agent.replaceFile(nothing);
    for (const { address } of [chosen, lower]) {
      assert.match(
        await untilHeld(lab, agent, address, "detach-limit"),
        /would detach 2 devices \(limit 1\)/,
      );
    }
    assert.deepEqual(await vm.hotplugCommands(), commands, "nothing was detached");
    await assertUntouched(lab, chosen.address, facts);
    lab.saw("rules: [] strips no running VM");

    const answer = (await agent.query("reload --confirm")) as { applied: boolean };
    assert.equal(answer.applied, true);
    await lab.until("the VM is empty, says QEMU", async () => (await vm.devices()).length === 0);
    await untilGivenBack(lab, chosen);
    await untilGivenBack(lab, lower);
    await assertUntouched(lab, higher.address, higherBefore);
    await assertNothingLeft(lab);
    assert.ok((await agent.audit()).some(({ event }) => event === "detach-confirmed"));
    lab.saw("confirmed: both are back on their driver");
  },
);
