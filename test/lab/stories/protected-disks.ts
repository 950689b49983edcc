import assert from "node:assert/strict";
import type { Agent } from "../agent.js";
import { type Lab, story } from "../story.js";
import {
  assertNoWrite,
  assertUntouched,
  entryOf,
  factsOnHost,
  protectionOf,
  untilHeld,
  untilInVm,
} from "../witness.js";

/** The virtio device through which L1 has its root file system: the only one with this id (see machine.ts). */
const share = { vendor: "1af4", device: "1009" };
const plainPlace = "/mnt/pciplug-lab-plain";
const stackedPlace = "/mnt/pciplug-lab-stacked";

export const protectedDisks = story(
  "disks that the host has mounted, swaps to or has stacked others on are refused to a rule that names their class; a free one is not",
  { number: 9, name: "protected-disks" },
  async (lab) => {
    const mounted = await lab.cards.plugDisk(1);
    const swapped = await lab.cards.plugDisk(2);
    const stacked = await lab.cards.plugDisk(3);
    const free = await lab.cards.plugDisk(4);
    await mountOn(lab, `/dev/${mounted.disk}`, plainPlace);
    await lab.host.sh(`mkswap -q /dev/${swapped.disk} && swapon /dev/${swapped.disk}`);
    lab.undo(() => lab.host.sh(`swapoff /dev/${swapped.disk}`));
    const mapped = await mapOnArray(lab, stacked.disk);
    await mountOn(lab, mapped, stackedPlace);
    const root = await lab.host.sh(`grep -l 0x${share.device} /sys/bus/pci/devices/*/device`);
    const rootAddress = root.split("/").at(-2) ?? "";
    lab.saw(
      `mounted ${mounted.disk}; swap on ${swapped.disk}; LVM's kind of volume on md on ${stacked.disk}`,
    );

    const needed = [mounted, swapped, stacked].map(({ address }) => address);
    const before = await Promise.all([...needed, rootAddress].map((address) => lab.host.facts(address)));
    await factsOnHost(lab, free);
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const agent = lab.agent();
    const rules = [
      { name: "disks", match: { class: "nvme" }, vm: "a" },
      { name: "share", match: share, vm: "a" },
    ];
    await agent.start({ vms: [entryOf(vm)], rules });
    await untilInVm(lab, vm, free);

    const reasons: [string, RegExp][] = [
      [mounted.address, new RegExp(`carries ${plainPlace} through ${mounted.disk}$`)],
      [swapped.address, new RegExp(`carries swap through ${swapped.disk}$`)],
      [stacked.address, new RegExp(`carries ${stackedPlace} through pciplug-lab on md0 on ${stacked.disk}$`)],
      [rootAddress, /carries \/ through overlay on 9pnet_virtio virtio\d+$/],
    ];
    for (const [address, reason] of reasons) await assertRefused(lab, agent, address, reason);
    assert.equal((await protectionOf(agent, rootAddress))?.isLiftable, false, "no override lifts the root");
    assert.equal((await protectionOf(agent, mounted.address))?.isLiftable, true);

    for (const [index, address] of [...needed, rootAddress].entries()) {
      const facts = before[index];
      assert.ok(facts);
      await assertUntouched(lab, address, facts);
    }
    for (const place of [plainPlace, stackedPlace]) {
      await lab.host.sh(
        `echo still-here > ${place}/file && sync -f ${place} && grep -q still-here ${place}/file`,
      );
    }
    await lab.host.sh(`grep -q '^/dev/${swapped.disk} ' /proc/swaps`);
    assert.equal((await vm.hotplugCommands()).length, 1, "QEMU was given the free card and nothing else");
    lab.saw("all of them are where they were, and the host still writes to them");
  },
);

async function assertRefused(lab: Lab, agent: Agent, address: string, reason: RegExp): Promise<void> {
  assert.match(await untilHeld(lab, agent, address, "protected"), reason);
  const protection = await protectionOf(agent, address);
  assert.equal(protection?.level, "hard", `pciplug devices on ${address}`);
  assert.match(protection.because, reason);
  await assertNoWrite(agent, address);
}

async function mountOn(lab: Lab, node: string, place: string): Promise<void> {
  await lab.host.sh(`mkfs.ext4 -q ${node} && mkdir -p ${place} && mount -t ext4 ${node} ${place}`);
  lab.undo(() => lab.host.sh(`umount ${place}`));
}

/**
 * A device-mapper volume, as LVM makes them, on an md array of one disk. The array is put together through sysfs
 * (kernel: Documentation/admin-guide/md), so that no mdadm is needed. Gives the volume's node.
 */
async function mapOnArray(lab: Lab, disk: string): Promise<string> {
  await lab.host.sh(`modprobe -a md-mod raid1 dm-mod && echo md0 > /sys/module/md_mod/parameters/new_array &&
    cd /sys/block/md0/md && echo none > metadata_version && echo raid1 > level && echo 1 > raid_disks &&
    cat /sys/class/block/${disk}/dev > new_dev && echo $(($(cat /sys/class/block/${disk}/size) / 2)) > component_size &&
    echo 0 > dev-${disk}/slot && echo active > array_state`);
  lab.undo(() => lab.host.sh("echo clear > /sys/block/md0/md/array_state"));
  await lab.host.sh(
    'dmsetup create pciplug-lab --table "0 $(blockdev --getsz /dev/md0) linear /dev/md0 0" && udevadm settle --timeout=60',
  );
  lab.undo(() => lab.host.sh("dmsetup remove --retry pciplug-lab"));
  return "/dev/mapper/pciplug-lab";
}
