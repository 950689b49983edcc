import assert from "node:assert/strict";
import type { Agent } from "../agent.js";
import type { Card } from "../cards.js";
import { type Lab, story } from "../story.js";
import { assertUntouched, entryOf, ruleFor, untilInVm } from "../witness.js";

const bootId = "/proc/sys/kernel/random/boot_id";
const otherBootId = "5a0c6f0e-0000-4000-8000-00000000b007";

/**
 * The ledger stays exactly as the agent wrote it, and the kernel's answer changes: a file is mounted over boot_id.
 * Editing the boot ids inside the ledger would test a file that no agent ever wrote.
 */
async function pretendReboot(lab: Lab): Promise<void> {
  await lab.host.write("/run/pciplug-lab/boot_id", `${otherBootId}\n`, 0o444);
  await lab.host.sh(`mount --bind /run/pciplug-lab/boot_id ${bootId}`);
  lab.undo(() => lab.host.sh(`umount ${bootId}`));
}

export const staleLedger = story(
  "a ledger of another boot, or of another card at the same address, makes the agent write nothing",
  { number: 8, name: "stale-ledger" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plug("nvme", 1);
    await lab.cards.untilHostDriver(card);
    const agent = lab.agent();
    const config = { vms: [entryOf(vm)], rules: [ruleFor(card.address, vm)] };
    await agent.start(config);
    await untilInVm(lab, vm, card);
    await agent.kill();
    await vm.kill();
    assert.ok(
      (await agent.ledger()).includes(card.address),
      "the killed agent left a ledger that names the card",
    );
    await lab.host.sh(`cp ${agent.ledgerPath} /run/pciplug-lab/ledger-as-left`);
    await lab.cards.pull(card);

    const other = await lab.cards.plug("e1000e", 1);
    await lab.cards.untilHostDriver(other);
    assert.equal(other.address, card.address, "another card stands at the same address");
    // An override that means nothing to the kernel while the driver is bound: whoever clears it is seen.
    await lab.host.sh(`echo left-by-the-operator > /sys/bus/pci/devices/${other.address}/driver_override`);

    lab.saw("another card at the address, the boot is the same");
    await assertNothingWritten(lab, agent, config, other);

    await lab.host.sh(`cp /run/pciplug-lab/ledger-as-left ${agent.ledgerPath}`);
    await pretendReboot(lab);
    lab.saw("the ledger as it was left, another card at the address, another boot");
    await assertNothingWritten(lab, agent, config, other);

    await lab.host.sh(`echo > /sys/bus/pci/devices/${other.address}/driver_override`);
  },
);

/** Runs an agent until it has settled its ledger; asserts that it wrote to no driver and no override. */
async function assertNothingWritten(
  lab: Lab,
  agent: Agent,
  config: Parameters<Agent["start"]>[0],
  card: Card,
): Promise<void> {
  const before = await lab.host.facts(card.address);
  assert.equal(before?.driver, card.driver);
  const uevents = await lab.host.uevents();
  const audited = (await agent.audit()).length;
  await agent.start(config);
  await lab.until("the ledger holds no entry for the address any more", async () => {
    return !(await agent.ledger()).includes(card.address);
  });
  assert.equal(await agent.stop(), 0);
  await assertUntouched(lab, card.address, before);
  assert.deepEqual(await lab.host.uevents(), uevents, "the kernel saw no bind, unbind or change");
  const writes = (await agent.audit()).slice(audited).filter(({ event }) => event === "host-write");
  assert.deepEqual(writes, [], "the audit has no write to the host either");
  lab.saw(`${card.address} untouched: ${card.driver} by the same bind, the same override, no uevent`);
}
