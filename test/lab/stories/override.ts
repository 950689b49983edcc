import assert from "node:assert/strict";
import type { Agent, AgentConfig } from "../agent.js";
import type { Card } from "../cards.js";
import { type Lab, story } from "../story.js";
import type { Vm } from "../vm.js";
import {
  assertNoWrite,
  assertUntouched,
  decisionsOn,
  entryOf,
  factsOnHost,
  protectionOf,
  untilHeld,
  untilInVm,
  writesTo,
} from "../witness.js";

const place = "/mnt/pciplug-lab-override";
/** The serial number that a vmxnet3 card shows is made from its MAC address. */
const macs = { meant: "52:54:00:00:00:0a", other: "52:54:00:00:00:0b" };

type Expectation = Readonly<Record<string, string>>;

export const override = story(
  "an override takes what the host needs only from the very card that it expects, not after a renumbering, and the audit says so",
  { number: 11, name: "override" },
  async (lab) => {
    const disk = await lab.cards.plugDisk(1);
    await lab.host.sh(
      `mkfs.ext4 -q /dev/${disk.disk} && mkdir -p ${place} && mount /dev/${disk.disk} ${place}`,
    );
    // In the end the disk is gone from below its file system, which can still be taken away.
    lab.undo(() => lab.host.sh(`! mountpoint -q ${place} || umount ${place}`));
    const nic = await lab.cards.plug("vmxnet3", 2, { mac: macs.meant });
    await makeRouteOf(lab, nic);
    const expectDisk = await expectationOf(lab, disk);
    const expectNic = await expectationOf(lab, nic);
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const agent = lab.agent();

    const { serial, ...numberless } = expectNic;
    assert.ok(serial, "the network card has a serial number");
    const wrong = { ...expectDisk, device: "0011" };
    await agent.start(configOf(vm, [disk.address, wrong]));
    const drift = await untilHeld(lab, agent, disk.address, "drifted");
    assert.match(drift, /expected device 0011, found device 0010/);
    await assertNoWrite(agent, disk.address);
    await lab.host.sh(`echo here > ${place}/file && sync -f ${place}`);
    lab.saw("a wrong expectation makes the override void; the disk is still mounted and written to");

    const moved = await renumber(lab, vm, agent, nic, expectNic);
    await agent.replaceFile(configOf(vm, [moved.address, numberless]));
    const short = await untilHeld(lab, agent, moved.address, "protected");
    assert.ok(short.endsWith(`must expect its serial number too: ${serial}`), short);
    await assertNoWrite(agent, moved.address);

    await agent.replaceFile(configOf(vm, [disk.address, expectDisk], [moved.address, expectNic]));
    await untilInVm(lab, vm, disk);
    await untilInVm(lab, vm, moved);
    await assertAudited(lab, agent, disk, new RegExp(`^it carries ${place} through ${disk.disk}$`));
    await assertAudited(lab, agent, moved, /^it carries the default route through \S+$/);
    await lab.host.sh(`[ ! -b /dev/${disk.disk} ] && grep -q ' ${place} ' /proc/1/mountinfo`);
    assert.equal(await lab.host.sh("ip route show default"), "", "the route went with its card");
    lab.saw("the kernel let go of a mounted disk: the mount is left without its device");

    const free = await lab.cards.plugDisk(4);
    const doubt = await protectionOf(agent, free.address);
    assert.match(
      doubt?.because ?? "",
      new RegExp(`${place} through ${disk.disk}, which leads to no device we know$`),
    );
    await lab.host.sh(`umount ${place}`);
    assert.equal(await protectionOf(agent, free.address), null);
    lab.saw("as long as it is there any other disk may be meant by it; unmounted, no more");
  },
);

/** Swaps two cards of one model, as if buses had been renumbered: the rule names the old address of the meant one. */
async function renumber(lab: Lab, vm: Vm, agent: Agent, nic: Card, expect: Expectation): Promise<Card> {
  await lab.cards.pull(nic);
  const stranger = await lab.cards.plug("vmxnet3", 2, { mac: macs.other });
  const moved = await lab.cards.plug("vmxnet3", 3, { mac: macs.meant });
  assert.equal(stranger.address, nic.address, "another card sits at the old address");
  assert.deepEqual(await expectationOf(lab, moved), expect, "the meant card is elsewhere");
  await makeRouteOf(lab, stranger);
  const before = await factsOnHost(lab, stranger);
  const movedBefore = await factsOnHost(lab, moved);
  await agent.replaceFile(configOf(vm, [nic.address, expect]));
  const drift = await untilHeld(lab, agent, nic.address, "drifted");
  assert.match(drift, new RegExp(`expected serial ${expect["serial"]}, found serial `));
  await assertUntouched(lab, stranger.address, before);
  await assertUntouched(lab, moved.address, movedBefore);
  assert.deepEqual(await vm.hotplugCommands(), [], "QEMU was given nothing yet");
  lab.saw("after the renumbering the same override is void");
  // The route goes with the card that is meant: now it is that one which the host needs.
  await lab.host.sh("ip route del default");
  await makeRouteOf(lab, moved);
  return moved;
}

async function makeRouteOf(lab: Lab, card: Card): Promise<void> {
  const name = await lab.cards.interfaceOf(card);
  await lab.host.sh(`ip addr flush dev ${name} && ip link set ${name} up && ip addr add 192.0.2.2/24 dev ${name} &&
    ip route add default via 192.0.2.1 dev ${name}`);
}

/** What lspci and sysfs say of a card, in the words of `expect:`. */
async function expectationOf(lab: Lab, { address }: Card): Promise<Expectation> {
  const text = await lab.host.sh(`cd /sys/bus/pci/devices/${address} &&
    cut -c3- vendor device subsystem_vendor subsystem_device && lspci -v -s ${address} | sed -n 's/.*Device Serial Number //p'`);
  const [vendor = "", device = "", subsystemVendor = "", subsystemDevice = "", serial] = text.split("\n");
  return { vendor, device, subsystemVendor, subsystemDevice, ...(serial === undefined ? {} : { serial }) };
}

function configOf(
  vm: Vm,
  ...cards: readonly (readonly [address: string, expect: Expectation])[]
): AgentConfig {
  const rules = cards.map(([address, expect]) => ({
    name: `anyway-${address.slice(5, 7)}`,
    match: { address },
    vm: vm.plan.name,
    override: "protected",
    expect,
  }));
  return { vms: [entryOf(vm)], rules };
}

/** Asserts that the audit told of the override, and of what it went against, before anything was written. */
async function assertAudited(lab: Lab, agent: Agent, card: Card, because: RegExp): Promise<void> {
  const told = (await decisionsOn(agent, card.address)).filter(
    ({ after }) => (after as { override?: string }).override !== undefined,
  );
  assert.equal(told.length, 1, `the audit tells once of an override on ${card.address}`);
  const [{ seq, after, why } = {}] = told;
  assert.match((after as { override: string }).override, because);
  const [write] = await writesTo(agent, card.address);
  assert.ok(Number(seq) < Number(write?.["seq"]), "it was told before the first write");
  lab.saw(`the audit says of ${card.address}: ${why}`);
}
