import assert from "node:assert/strict";
import { story } from "../story.js";
import { assertNothingLeft, entryOf, untilGivenBack, untilInVm, untilOutOfVm } from "../witness.js";

const interfaces = "ls /sys/class/net";

export const nicInUse = story(
  "a NIC that a running guest has brought up leaves it when its rule goes, and the host has its interface back",
  { number: 20, name: "nic-in-use" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "acpi", state: "guest" });
    const card = await lab.cards.plug("e1000e", 1);
    const before = await lab.cards.interfaceOf(card);
    const rule = { name: "nic", match: { address: card.address, class: "ethernet" }, vm: vm.plan.name };
    const agent = lab.agent();
    const config = { vms: [entryOf(vm)], rules: [rule] };
    await agent.start(config);
    await untilInVm(lab, vm, card);
    const name = await lab.until("the guest has an interface of it", async () =>
      (await vm.guest(interfaces)).split(/\s+/).find((entry) => entry !== "lo"),
    );
    await vm.guest(`ip link set ${name} up`);
    const flags = Number(await vm.guest(`cat /sys/class/net/${name}/flags`));
    assert.equal(flags & 1, 1, "the interface is up (IFF_UP)");
    lab.saw(`the guest has brought ${name} up`);

    await agent.replaceFile({ ...config, rules: [] });
    await untilOutOfVm(lab, vm, card);
    assert.equal(await vm.guest(interfaces), "lo", "the guest has let go of it");
    await untilGivenBack(lab, card);
    assert.equal(await lab.cards.interfaceOf(card), before, "the host has the same interface again");
    await assertNothingLeft(lab);
  },
);
