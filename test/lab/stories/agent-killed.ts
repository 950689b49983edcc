import assert from "node:assert/strict";
import type { Agent } from "../agent.js";
import { type Lab, story } from "../story.js";
import type { Vm } from "../vm.js";
import { assertUntouched, entryOf, untilInVm, untilOutOfVm } from "../witness.js";

export const agentKilled = story(
  "a killed agent adopts its card when it comes back and touches nothing; a card of the VM's own is foreign and never ejected",
  { number: 4, name: "agent-killed" },
  async (lab) => {
    const foreign = await lab.cards.plug("nvme", 4);
    await lab.cards.untilHostDriver(foreign);
    await lab.host.bindToVfio(foreign.address);
    const theirs = ["-device", `vfio-pci,id=theirs,host=${foreign.address},bus=port4,addr=0`];
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused", extra: theirs });
    const foreignFacts = await lab.host.facts(foreign.address);
    assert.ok(foreignFacts);
    lab.saw(`${foreign.address} stands on the VM's own command line`);

    // The rule wants the foreign card too: that it is foreign must be stronger.
    const rules = [
      { name: "all-of-a-kind", match: { vendor: "1b36", device: "0010", class: "nvme" }, vm: "a" },
    ];
    const config = { vms: [entryOf(vm)], rules };
    const agent = lab.agent();
    await agent.start(config);
    const card = await lab.cards.plug("nvme", 1);
    const { facts } = await untilInVm(lab, vm, card);
    await untilSettled(lab, agent);
    const commands = await vm.hotplugCommands();
    assert.equal(commands.length, 1, "one device_add and nothing else");

    await agent.kill();
    lab.saw("the agent was killed");
    await assertUntouched(lab, card.address, facts);
    await agent.start(config);
    await untilSettled(lab, agent);
    await assertUntouched(lab, card.address, facts);
    await assertUntouched(lab, foreign.address, foreignFacts);
    assert.deepEqual(await vm.hotplugCommands(), commands, "QEMU was asked for nothing after the restart");
    lab.saw("started again: no command to QEMU, no write to a driver");
    await assertForeign(agent, vm, foreign.address);

    await lab.cards.pull(card);
    await untilOutOfVm(lab, vm, card);
    lab.saw("a later unplug of the adopted card works");

    await agent.stop();
    await agent.start({ ...config, rules: [] }, ["--confirm-detach"]);
    await untilSettled(lab, agent);
    await assertUntouched(lab, foreign.address, foreignFacts);
    assert.deepEqual(
      (await vm.devices()).map(({ id }) => id),
      ["theirs"],
      "the foreign card is still in the VM",
    );
    const named = (await vm.hotplugCommands()).filter((command) => command.includes("theirs"));
    assert.deepEqual(named, [], "QEMU was never told to do anything with the foreign card");
    lab.saw("without any rule the foreign card still stands where it stood");
  },
);

/** Waits until the agent has nothing left to do. This is only a wait: what then holds is asked of others. */
async function untilSettled(lab: Lab, agent: Agent): Promise<void> {
  await lab.until("the agent has no step left", async () => {
    const plan = (await agent.query("plan")) as { source?: string; steps?: unknown[] };
    return plan.source === "agent" && plan.steps?.length === 0;
  });
}

async function assertForeign(agent: Agent, vm: Vm, address: string): Promise<void> {
  const status = (await agent.query("status")) as {
    vms: { name: string; attached: { address: string; ours: boolean }[] }[];
  };
  const shown = status.vms.find(({ name }) => name === vm.plan.name)?.attached;
  assert.equal(shown?.find((entry) => entry.address === address)?.ours, false, "status shows it as not ours");
}
