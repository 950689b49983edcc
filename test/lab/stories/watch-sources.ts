import assert from "node:assert/strict";
import { type Lab, story } from "../story.js";
import type { Vm } from "../vm.js";
import { entryOf, ruleFor, untilInVm, untilOutOfVm } from "../witness.js";

const off = { udevadm: false, udevDatabase: false, sysfsPolling: false, rescan: "off" };

/** Each source alone: what is switched on, and the name under which the agent says that it saw the card first. */
const sources = {
  "udev-database": { ...off, udevDatabase: true },
  udevadm: { ...off, udevadm: true },
  "sysfs-polling": { ...off, sysfsPolling: true },
  rescan: { ...off, rescan: "2s" },
} as const;

export const watchSources = story(
  "each watch source alone carries a plug and an unplug, and the audit says which one saw it first",
  { number: 7, name: "watch-sources" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    await tellWith(lab, vm, "udev-database");

    lab.undo(() => lab.host.startUdev());
    await lab.host.stopUdev();
    lab.saw("udevd is gone");
    await tellWith(lab, vm, "udevadm");

    // L1's root is an overlay in memory: what is moved here stays where it is on the machine that runs the lab.
    lab.undo(() => lab.host.sh("mv /usr/bin/udevadm.away /usr/bin/udevadm"));
    await lab.host.sh("mv $(readlink -f $(command -v udevadm)) /usr/bin/udevadm.away; ! command -v udevadm");
    lab.saw("udevadm is gone too");
    await tellWith(lab, vm, "sysfs-polling");
    await tellWith(lab, vm, "rescan");
  },
);

async function tellWith(lab: Lab, vm: Vm, source: keyof typeof sources): Promise<void> {
  const address = await lab.cards.addressOf(1);
  const agent = lab.agent();
  const ready = await agent.start({
    vms: [entryOf(vm)],
    rules: [ruleFor(address, vm)],
    sources: sources[source],
  });
  lab.saw(`${source} alone - ${ready}`);
  const card = await lab.cards.plug("nvme", 1);
  await untilInVm(lab, vm, card);
  await lab.cards.pull(card);
  await untilOutOfVm(lab, vm, card);
  for (const event of ["device-appeared", "device-vanished"]) {
    const line = await lab.until(`the audit has ${event}`, async () =>
      (await agent.audit()).find((entry) => entry["event"] === event && entry["address"] === address),
    );
    assert.equal(line["source"], source, `${event} was seen first by`);
  }
  await agent.stop();
}
