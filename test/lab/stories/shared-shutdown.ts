import assert from "node:assert/strict";
import { story } from "../story.js";
import { entryOf, ruleFor, untilGivenBack, untilInVm } from "../witness.js";

/** microvm.nix's own shutdown speaks to the very socket that the agent was told of. */
export const sharedShutdown = story(
  "a second client shuts a VM down over the monitor that the agent shares, and the host gets the card back",
  { number: 19, name: "shared-shutdown" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plug("nvme", 1);
    await lab.cards.untilHostDriver(card);
    const agent = lab.agent();
    const shared = { ...entryOf(vm), monitor: "shared" };
    await agent.start({
      vms: [shared],
      rules: [ruleFor(card.address, vm)],
      limits: { keepAfterVmGone: "5s" },
    });
    await untilInVm(lab, vm, card);

    const said = await lab.host.sh(
      `{ echo '{"execute":"qmp_capabilities"}'; echo '{"execute":"quit"}'; sleep 1; } |
       socat -t 20 - UNIX-CONNECT:${vm.socket}`,
    );
    assert.match(said, /"QMP"/, "the second client was greeted");
    assert.match(said, /"SHUTDOWN"/, "and its order was carried out");
    lab.saw("a plain socat was served on the shared socket, and QEMU has ended");
    await untilGivenBack(lab, card);
    assert.ok(await agent.isRunning());
    assert.ok(!(await agent.ledger()).includes(card.address), "the ledger holds no entry for the card");
  },
);
