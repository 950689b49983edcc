import assert from "node:assert/strict";
import { story } from "../story.js";
import {
  assertNoWrite,
  assertUntouched,
  decisionsOn,
  entryOf,
  factsOnHost,
  protectionOf,
  untilHeld,
  untilInVm,
} from "../witness.js";

export const protectedNic = story(
  "a network card below a bridge with the default route is refused; one that merely has an address is held until its rule takes it",
  { number: 10, name: "protected-nic" },
  async (lab) => {
    const { cards, host } = lab;
    const bridged = await cards.plug("vmxnet3", 1);
    const configured = await cards.plug("vmxnet3", 2);
    const taken = await cards.plug("vmxnet3", 3);
    const [port, second, third] = await Promise.all(
      [bridged, configured, taken].map((card) => cards.interfaceOf(card)),
    );
    // Addresses for documentation (RFC 5737).
    await host.sh(`ip link add br0 type bridge && ip link set ${port} master br0 && ip link set ${port} up &&
      ip link set br0 up && ip addr add 192.0.2.2/24 dev br0 && ip route add default via 192.0.2.1`);
    lab.undo(() => host.sh("ip link del br0"));
    await host.sh(`ip link set ${second} up && ip addr add 198.51.100.2/24 dev ${second} &&
      ip link set ${third} up && ip addr add 203.0.113.2/24 dev ${third}`);
    const bridgedBefore = await factsOnHost(lab, bridged);
    const configuredBefore = await factsOnHost(lab, configured);
    lab.saw(`${port} is a port of br0, which has the default route; ${second} and ${third} have an address`);

    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const agent = lab.agent();
    const rules = [
      { name: "bridged", match: { address: bridged.address }, vm: "a", takeConfigured: true },
      { name: "configured", match: { address: configured.address }, vm: "a" },
      { name: "taken", match: { address: taken.address }, vm: "a", takeConfigured: true },
    ];
    await agent.start({ vms: [entryOf(vm)], rules });
    await untilInVm(lab, vm, taken);

    const refusal = await untilHeld(lab, agent, bridged.address, "protected");
    assert.match(refusal, new RegExp(`carries the default route through br0 on ${port}$`));
    assert.equal((await protectionOf(agent, bridged.address))?.level, "hard");
    const soft = await untilHeld(lab, agent, configured.address, "in-use");
    assert.match(
      soft,
      new RegExp(`carries an address of the host through ${second}; .*takeConfigured: true`),
    );
    assert.equal((await protectionOf(agent, configured.address))?.level, "soft");

    await assertUntouched(lab, bridged.address, bridgedBefore);
    await assertUntouched(lab, configured.address, configuredBefore);
    for (const { address } of [bridged, configured]) {
      await assertNoWrite(agent, address);
      const verdicts = (await decisionsOn(agent, address)).map(
        ({ after }) => (after as { verdict: string }).verdict,
      );
      assert.deepEqual(verdicts, ["held"], `the audit holds ${address} and says nothing else of it`);
    }
    assert.equal(
      await host.sh(`cat /sys/class/net/${port}/master/ifindex`),
      await host.sh("cat /sys/class/net/br0/ifindex"),
    );
    assert.match(await host.sh("ip route show default"), /via 192\.0\.2\.1 dev br0/);
    assert.match(await host.sh(`ip addr show dev ${second}`), /198\.51\.100\.2/);
    assert.equal((await vm.hotplugCommands()).length, 1, "QEMU was given one card");
    lab.saw("the bridge, the route and the addresses are as they were");
  },
);
