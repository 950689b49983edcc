/** The built program under another file: by itself, on SIGHUP, and on `pciplug reload` with its exit codes. */
import { mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CliGround, fileFor, onGround, readyCard } from "../support/cli-ground.js";
import { type Program, runProgram } from "../support/program.js";
import { waitFor } from "../support/waiting.js";

const secondCard = { ...readyCard, address: "0000:42:00.0", iommuGroup: 28 };
const world = {
  cards: [readyCard, secondCard],
  vms: [{ name: "build", ports: [{ id: "rp0" }, { id: "rp1" }] }],
};
const both = [readyCard.address, secondCard.address];

function text(ground: CliGround, ...addresses: readonly string[]): string {
  const rules = addresses.map((address) => [
    `at-${address.slice(5, 7)}`,
    `{ address: "${address}" }`,
    "build",
  ]);
  const file = fileFor([["build", ground.sim.socketOf("build")]], rules as [string, string, string][]);
  return addresses.length === 0 ? file.replace("rules:", "rules: []") : file;
}

async function untilIn(ground: CliGround, agent: Program, addresses: readonly string[]): Promise<void> {
  const inVm = () => JSON.stringify([...ground.sim.vm("build").attached()].sort());
  await waitFor(
    `${addresses} in the VM`,
    () => inVm() === JSON.stringify(addresses),
    () => agent.stderr,
  );
}

describe("the running agent", () => {
  it("follows the file by itself, also through a link that is swapped", async () => {
    await onGround(world, async (ground) => {
      const one = ground.write(text(ground, readyCard.address), "one.yaml");
      const two = ground.write(text(ground, ...both), "two.yaml");
      symlinkSync(one, ground.config);
      const agent = await ground.readyAgent();
      await untilIn(ground, agent, [readyCard.address]);
      symlinkSync(two, `${ground.config}.tmp`);
      renameSync(`${ground.config}.tmp`, ground.config);
      await untilIn(ground, agent, both);
      expect((await agent.end("SIGTERM")).code).toBe(0);
    });
  });

  it("reads the file again on SIGHUP, which does not end it", async () => {
    await onGround(world, async (ground) => {
      // In a folder of so many entries no event is waited for, and the slow look comes after half a minute.
      const crowd = join(ground.dir, "crowd");
      mkdirSync(crowd);
      for (let entry = 0; entry <= 4_096; entry += 1) {
        writeFileSync(join(crowd, `entry-${entry}`), "");
      }
      symlinkSync(ground.write(text(ground, readyCard.address), "crowd/config.yaml"), ground.config);
      const agent = await ground.readyAgent();
      await untilIn(ground, agent, [readyCard.address]);
      ground.write(text(ground, ...both), "crowd/config.yaml");
      agent.send("SIGHUP");
      await agent.until(/"message":"Policy loaded: 2 rules for 1 VM \(rules: added at-42\)"/, "stderr");
      await untilIn(ground, agent, both);
      const messages = agent.log().map((line) => String(line["message"]));
      const loads = messages.flatMap((message, index) =>
        message.startsWith("Policy loaded") ? [index] : [],
      );
      const asked = messages.indexOf("Reading the file again");
      expect(loads.map((index) => index > asked)).toEqual([false, true]);
      ground.write("rules: [", "crowd/config.yaml");
      agent.send("SIGHUP");
      await agent.until(/"level":"warn".*Policy refused|Policy refused.*"level":"warn"/, "stderr");
      expect(ground.sim.vm("build").attached().sort()).toEqual(both);
      expect((await agent.end("SIGTERM")).code).toBe(0);
    });
  });
});

describe("reload", () => {
  it("ends with 69 when no agent runs", async () => {
    await onGround(world, async (ground) => {
      const ended = await runProgram(ground.args("reload"));
      expect([ended.code, ended.stdout]).toEqual([69, ""]);
      expect(ended.stderr).toContain("none is running");
    });
  });

  it("ends with 78 and shows the line when the file is broken, and status says that the old policy stays", async () => {
    await onGround(world, async (ground) => {
      ground.write(text(ground, ...both));
      const agent = await ground.readyAgent();
      await untilIn(ground, agent, both);
      ground.write(text(ground, ...both).replace("address", "adress"));
      const ended = await runProgram(ground.args("reload"));
      expect([ended.code, ended.stdout]).toEqual([78, ""]);
      expect(ended.stderr).toMatch(
        /config\.yaml:4:\d+: rules\[0\][\s\S]*\^[\s\S]*Refused: policy [0-9a-f]{12} stays in force/,
      );
      const status = await runProgram(ground.args("status"));
      expect(status.stdout).toMatch(
        /^policy [0-9a-f]{12} from .*config\.yaml, read at .*Z\nthe file .* is refused/m,
      );
    });
  });

  it("ends with 2 while the detach limit holds, and with 0 once it is confirmed", async () => {
    await onGround(world, async (ground) => {
      ground.write(text(ground, ...both));
      const agent = await ground.readyAgent();
      await untilIn(ground, agent, both);
      ground.write(text(ground));
      const held = await runProgram(ground.args("reload"));
      expect([held.code, held.stdout]).toEqual([2, expect.stringMatching(/policy [0-9a-f]{12}/)]);
      expect(held.stderr).toContain(
        "0000:41:00.0 is held: policy change would detach 2 devices (limit 1): run `pciplug reload --confirm` to mean it",
      );
      expect(ground.sim.vm("build").attached().sort()).toEqual(both);

      const confirmed = await runProgram(ground.args("reload", "--confirm", "--json"));
      expect([confirmed.code, confirmed.stderr]).toEqual([0, ""]);
      expect(JSON.parse(confirmed.stdout)).toMatchObject({
        schema: "pciplug-reload/1",
        applied: true,
        issues: [],
        held: [],
      });
      await untilIn(ground, agent, []);
      await agent.end("SIGTERM");
      const events = readFileSync(join(ground.state, "audit.jsonl"), "utf8").match(/"event":"[a-z-]+"/g);
      expect(events).toContain('"event":"detach-confirmed"');
    });
  });
});
