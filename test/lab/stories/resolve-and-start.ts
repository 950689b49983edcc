import assert from "node:assert/strict";
import type { AgentConfig } from "../agent.js";
import { agentProgram } from "../paths.js";
import { type Lab, story } from "../story.js";
import { assertUntouched, factsOnHost } from "../witness.js";

const file = "/run/pciplug-lab/resolve.json";
const vmName = "early";
const config: AgentConfig = {
  vms: [{ name: vmName, qmp: `/run/${vmName}.sock`, ports: ["port1", "port2"], machine: "q35" }],
  rules: [
    { name: "disk", match: { class: "nvme" }, vm: vmName },
    { name: "teacher", match: { vendor: "1234", device: "11e8" }, vm: vmName },
  ],
};

export const resolveAndStart = story(
  "a VM starts with what resolve printed for it, the same after cards came back in another order, and the agent adopts what it finds",
  { number: 13, name: "resolve-and-start" },
  async (lab) => {
    await lab.host.write(file, JSON.stringify(config));
    const first = await lab.cards.plug("nvme", 1);
    const second = await lab.cards.plug("edu", 2);
    await lab.cards.untilHostDriver(first);
    const line = await resolve(lab);
    lab.saw(`resolve prints: ${line}`);

    await lab.cards.pull(first);
    await lab.cards.pull(second);
    const teacher = await lab.cards.plug("edu", 2);
    const disk = await lab.cards.plug("nvme", 1);
    await factsOnHost(lab, disk);
    assert.equal(await resolve(lab), line, "the same cards, back in another order, give the same line");
    lab.saw("both cards came back in the other order: the same line");

    for (const { address } of [disk, teacher]) await lab.host.bindToVfio(address);
    assert.equal(await resolve(lab), line, "that they are bound changes nothing");
    const vm = await lab.vm({ name: vmName, hotplug: "native", state: "paused", extra: line.split(" ") });
    assert.equal(vm.socket, config.vms[0]?.["qmp"]);
    const devices = (await vm.devices()).sort((a, b) => a.bus.localeCompare(b.bus));
    assert.deepEqual(
      devices.map(({ host, bus }) => [host, bus]),
      [
        [disk.address, "port1"],
        [teacher.address, "port2"],
      ],
    );
    for (const { id } of devices) assert.match(id, /^pciplug-/);
    lab.saw("QEMU runs with both, under ids that the agent knows");

    const facts = await Promise.all([disk, teacher].map(({ address }) => lab.host.facts(address)));
    const uevents = await lab.host.uevents();
    const agent = lab.agent();
    await agent.start(config);
    const attached = await lab.until("status shows both as ours", async () => {
      const status = (await agent.query("status")) as {
        vms: { attached: { address: string; id: string; ours: boolean }[] }[];
      };
      const ours = status.vms[0]?.attached.filter((entry) => entry.ours) ?? [];
      return ours.length === 2 && ours;
    });
    assert.deepEqual(attached.map(({ id }) => id).sort(), devices.map(({ id }) => id).sort());
    await lab.until("the ledger has both, and the agent has no step left", async () => {
      const ledger = await agent.ledger();
      const plan = (await agent.query("plan")) as { steps: unknown[]; held: unknown[] };
      return (
        ledger.includes(disk.address) &&
        ledger.includes(teacher.address) &&
        plan.steps.length + plan.held.length === 0
      );
    });
    for (const [index, { address }] of [disk, teacher].entries()) {
      const before = facts[index];
      assert.ok(before);
      await assertUntouched(lab, address, before);
    }
    assert.deepEqual(await vm.hotplugCommands(), [], "QEMU was asked for nothing");
    assert.deepEqual(await lab.host.uevents(), uevents, "the kernel saw no bind, unbind or change");
    lab.saw("adopted: nothing was detached or bound anew");
  },
);

/** What `pciplug resolve` prints on standard output. */
async function resolve(lab: Lab): Promise<string> {
  return await lab.host.sh(
    `${process.execPath} ${agentProgram} resolve --vm ${vmName} --format qemu --config ${file}`,
  );
}
