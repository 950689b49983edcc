import { story } from "../story.js";
import { assertUntouched, entryOf, untilInVm, untilOutOfVm } from "../witness.js";

export const identicalCards = story(
  "two identical cards both reach the VM, and pulling one leaves the other",
  { number: 2, name: "identical-cards" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const rules = [
      { name: "all-of-a-kind", match: { vendor: "1b36", device: "0010", class: "nvme" }, vm: "a" },
    ];
    lab.saw(await lab.agent().start({ vms: [entryOf(vm)], rules }));

    const first = await lab.cards.plug("nvme", 1);
    const second = await lab.cards.plug("nvme", 2);
    await untilInVm(lab, vm, first);
    const { facts, id } = await untilInVm(lab, vm, second);

    await lab.cards.pull(first);
    await untilOutOfVm(lab, vm, first);
    await assertUntouched(lab, second.address, facts);
    await lab.until(`${second.address} is the one device left in the VM`, async () => {
      const devices = await vm.devices();
      return devices.length === 1 && devices[0]?.id === id;
    });

    await lab.cards.pull(second);
    await untilOutOfVm(lab, vm, second);
  },
);
