import assert from "node:assert/strict";
import { type Lab, story } from "../story.js";
import type { Vm } from "../vm.js";
import { entryOf, ruleFor, untilGivenBack, untilInVm, untilOutOfVm } from "../witness.js";

const TIMES = 50;
const SERVING_MS = 300_000;

/** microvm.nix's own shutdown speaks to the very socket that the agent was told of. */
export const sharedShutdown = story(
  "a socat is served every time of 50 on the monitor that the agent shares during plugs and unplugs, and shuts the VM down",
  { number: 19, name: "shared-shutdown" },
  async (lab) => {
    const vm = await lab.vm({ name: "a", hotplug: "native", state: "paused" });
    const card = await lab.cards.plug("nvme", 1);
    await lab.cards.untilHostDriver(card);
    const agent = lab.agent();
    const config = {
      vms: [{ ...entryOf(vm), monitor: "shared" }],
      rules: [ruleFor(card.address, vm)],
      limits: { keepAfterVmGone: "5s" },
    };
    await agent.start(config);
    await untilInVm(lab, vm, card);

    const serving = serve(lab, vm);
    let isOver = false;
    const over = serving.finally(() => {
      isOver = true;
    });
    over.catch(() => undefined);
    let rounds = 0;
    while (!isOver) {
      await agent.replaceFile({ ...config, rules: [] });
      await untilOutOfVm(lab, vm, card);
      await agent.replaceFile(config);
      await untilInVm(lab, vm, card);
      rounds += 1;
    }
    const times = (await serving).sort((a, b) => a - b);
    lab.saw(
      `${times.length} of ${TIMES} were served beside ${rounds} unplugs and plugs: median ${times[TIMES / 2]} ms, longest ${times.at(-1)} ms`,
    );
    assert.equal(times.length, TIMES, "every one was served");

    const said = await lab.host.sh(
      `{ echo '{"execute":"qmp_capabilities"}'; echo '{"execute":"quit"}'; sleep 1; } |
       socat -t 20 - UNIX-CONNECT:${vm.socket}`,
    );
    assert.match(said, /"SHUTDOWN"/, "its order was carried out");
    lab.saw("a plain socat has ended QEMU over the shared socket");
    await untilGivenBack(lab, card);
    assert.ok(await agent.isRunning());
    assert.ok(!(await agent.ledger()).includes(card.address), "the ledger holds no entry for the card");
  },
);

/** Has a socat connect, ask and leave again and again; gives how long each of those took that got both answers. */
async function serve(lab: Lab, vm: Vm): Promise<number[]> {
  const said = await lab.host.sh(
    `bash -c '
      for time in $(seq ${TIMES}); do
        began=$(date +%s%N); answers=0
        coproc C { socat - UNIX-CONNECT:${vm.socket}; }
        out=\${C[1]}; in=\${C[0]}; pid=$C_PID
        printf "%s\\n" "{\\"execute\\":\\"qmp_capabilities\\"}" "{\\"execute\\":\\"query-status\\"}" >&$out
        while [ $answers -lt 2 ] && read -t 20 -r line <&$in; do
          case $line in *return*) answers=$((answers + 1));; esac
        done
        [ $answers -eq 2 ] && echo $(( ($(date +%s%N) - began) / 1000000 ))
        kill $pid; wait $pid 2>/dev/null
      done; true'`,
    SERVING_MS,
  );
  return said.split("\n").filter(Boolean).map(Number);
}
