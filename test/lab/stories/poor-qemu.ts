import assert from "node:assert/strict";
import type { Agent } from "../agent.js";
import type { Card } from "../cards.js";
import { assertRefusal } from "../refusals.js";
import { type Lab, story } from "../story.js";
import type { Vm } from "../vm.js";
import {
  assertNothingLeft,
  entryOf,
  ruleFor,
  untilGivenBack,
  untilHeld,
  untilInVm,
  untilOutOfVm,
} from "../witness.js";

const uid = 64_055;
const kib = 1024;
const mib = 1024 * kib;
const guestBytes = 128 * mib;
const poor = 8 * mib;

/** Both limits, by hand and from outside, as an operator does. */
async function setLimit(lab: Lab, vm: Vm, bytes: number): Promise<void> {
  await lab.host.sh(`prlimit --pid ${vm.pid} --memlock=${bytes}:unlimited`);
}

async function limitOf(lab: Lab, vm: Vm): Promise<number> {
  return Number(await lab.host.sh(`prlimit --pid ${vm.pid} --memlock --raw --noheadings --output SOFT`));
}

async function nodeOf(lab: Lab, card: Card): Promise<string> {
  return `/dev/vfio/${(await lab.host.facts(card.address))?.iommuGroup}`;
}

/** What such a QEMU refuses, and the least that it must be allowed to lock. */
async function tellRefusals(lab: Lab, vm: Vm, card: Card): Promise<void> {
  await lab.host.bindToVfio(card.address);
  const node = await nodeOf(lab, card);
  const add = () => vm.addByHand(card.address, "c", "port1");
  await assertRefusal(lab, await add(), "node-denied");
  await lab.host.sh(`chown ${uid}:${uid} ${node} && chmod 0600 /dev/vfio/vfio`);
  lab.undo(() => lab.host.sh("chmod 0666 /dev/vfio/vfio"));
  await assertRefusal(lab, await add(), "container-denied");
  await lab.host.sh("chmod 0666 /dev/vfio/vfio");
  await assertRefusal(lab, await add(), "memlock");
  for (const margin of [0, 64, 128, 256, 512, 1024, 2048]) {
    await setLimit(lab, vm, guestBytes + margin * kib);
    if ((await add()) === null) {
      lab.saw(`it locks the guest's memory and ${margin} KiB more`);
      break;
    }
  }
  await untilInVmByHand(lab, vm, card);
  await vm.qmp([{ execute: "device_del", arguments: { id: "c" } }]);
  await untilOutOfVm(lab, vm, card);
  await lab.host.giveBack(card.address);
  await untilGivenBack(lab, card);
  await setLimit(lab, vm, poor);
}

async function untilInVmByHand(lab: Lab, vm: Vm, card: Card): Promise<void> {
  await lab.until("enough is enough", async () =>
    (await vm.devices()).some(({ host }) => host === card.address),
  );
}

/** Asserts that the agent has given the node to QEMU's user, as the node itself says. */
async function assertInPoorVm(lab: Lab, vm: Vm, card: Card): Promise<void> {
  await untilInVm(lab, vm, card);
  assert.equal(await lab.host.sh(`stat -c %u:%g ${await nodeOf(lab, card)}`), `${uid}:${uid}`);
}

async function takeOut(lab: Lab, agent: Agent, vm: Vm, card: Card): Promise<void> {
  await agent.replaceFile({ vms: [entryOf(vm)], rules: [] });
  await untilOutOfVm(lab, vm, card);
  await untilGivenBack(lab, card);
  await assertNothingLeft(lab);
}

export const poorQemu = story(
  "a QEMU that is not root's gets the node, and no card while it may not lock enough memory: an operator or raiseMemlock raises the limit",
  { number: 16, name: "poor-qemu" },
  async (lab) => {
    const vm = await lab.vm({
      name: "poor",
      hotplug: "native",
      state: "paused",
      user: { uid, memlockBytes: poor },
    });
    const card = await lab.cards.plug("nvme", 1);
    await lab.cards.untilHostDriver(card);
    await tellRefusals(lab, vm, card);

    const before = await lab.host.facts(card.address);
    const commands = (await vm.hotplugCommands()).length;
    const agent = lab.agent();
    const config = { vms: [entryOf(vm)], rules: [ruleFor(card.address, vm)] };
    await agent.start(config);
    const why = await untilHeld(lab, agent, card.address, "memlock");
    assert.ok(
      why.includes(String(poor)) && why.includes(String(guestBytes + 128 * kib)),
      "with both figures",
    );
    assert.deepEqual(await lab.host.facts(card.address), before, "its driver was not touched");
    assert.equal((await vm.hotplugCommands()).length, commands, "and QEMU was not asked");

    await setLimit(lab, vm, guestBytes + 64 * mib);
    await assertInPoorVm(lab, vm, card);
    lab.saw("a limit that was raised from outside was noticed");
    await takeOut(lab, agent, vm, card);

    await setLimit(lab, vm, poor);
    await agent.replaceFile({ ...config, vms: [{ ...entryOf(vm), raiseMemlock: true }] });
    await assertInPoorVm(lab, vm, card);
    assert.equal(await limitOf(lab, vm), guestBytes + 1024 * mib, "the limit, says the kernel");
    const audit = await agent.audit();
    const of = (event: string, kind: string) =>
      audit.findIndex((line) => line["event"] === event && JSON.stringify(line).includes(kind));
    const order = [
      of("step-started", '"raise-memlock"'),
      of("host-write", "Max locked memory"),
      of("step-ended", '"raise-memlock"'),
    ];
    assert.ok(order[0] !== -1 && order.every((at, index) => index === 0 || at > (order[index - 1] ?? 0)));
    lab.saw("the audit has the step, the change and its end, in this order");
    await takeOut(lab, agent, vm, card);
  },
);
