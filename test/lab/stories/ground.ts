/**
 * The lab proves itself, without any agent: what the other stories rely on works when it is done by hand.
 * If this one fails, the others say nothing.
 */
import assert from "node:assert/strict";
import { story } from "../story.js";

export const ground = story(
  "without any agent, a card plugged from outside is bound to vfio-pci by hand, goes into a VM and comes back",
  { number: 0, name: "ground", needsAgent: false },
  async (lab) => {
    const { host, cards } = lab;
    const address = await cards.addressOf(1);
    assert.equal(await host.facts(address), null, "the port is empty before the plug");

    const card = await cards.plug("nvme", 1);
    await cards.untilHostDriver(card);
    const before = await host.facts(address);
    assert.equal(before?.vendor, card.vendor);
    assert.equal(before?.driver, "nvme");
    assert.equal(before?.override, null);
    assert.ok(before?.iommuGroup, "the card has an IOMMU group");
    lab.saw(`${address} plugged, bound to nvme, IOMMU group ${before.iommuGroup}`);
    await lab.until("the kernel's uevents add and bind", async () => {
      const seen = await host.uevents();
      return seen.includes(`add ${address}`) && seen.includes(`bind ${address}`);
    });
    await host.until("the udev database has the card", `[ -e /run/udev/data/+pci:${address} ]`);

    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    assert.deepEqual(await vm.devices(), []);
    lab.saw("an inner QEMU is up");

    await host.bindToVfio(address);
    assert.equal(await host.sh("ls /dev/vfio"), `${before.iommuGroup}\nvfio`);
    await vm.qmp([
      {
        execute: "device_add",
        arguments: { driver: "vfio-pci", id: "byhand", host: address, bus: "port1", addr: "0" },
      },
    ]);
    assert.deepEqual(await vm.devices(), [{ id: "byhand", host: address, bus: "port1" }]);
    lab.saw("QEMU's object model lists the card in port1");
    assert.equal((await vm.hotplugCommands()).length, 1, "QEMU's own trace shows the device_add");

    await vm.qmp([{ execute: "device_del", arguments: { id: "byhand" } }]);
    await lab.until("the card has left the VM", async () => (await vm.devices()).length === 0);
    await host.giveBack(address);
    await host.untilBound(address, "nvme");
    const after = await host.facts(address);
    assert.equal(after?.override, null);
    assert.notEqual(after?.binding, before.binding, "a new bind shows as a new driver link");
    assert.deepEqual(await host.leftovers(), []);
    lab.saw("given back: nvme has it again, no override left");

    await cards.pull(card);
    assert.equal(await host.facts(address), null);
    assert.ok((await host.uevents()).includes(`remove ${address}`));
    lab.saw("pulled: gone from sysfs");
  },
);
