/** What `pciplug explain` shows a person. */
import { describe, expect, it } from "vitest";
import { renderExplanation } from "../../../src/cli/explanation-text.js";
import { explain, type Question } from "../../../src/core/explain.js";
import type { World } from "../../../src/core/world.js";
import { aDevice, aPolicy, aRule, aSelectRule, aWorld, protectedBy, up } from "../../support/builders.js";

const gpu = aDevice("0000:65:00.0");
const sound = aDevice("0000:65:00.1", { class: "040300", driver: null });
const nic = aDevice("0000:17:00.0", { vendor: "8086", class: "020000", driver: "igb" });
const policy = aPolicy([
  aRule("gpus", { vendor: "10de", class: ["vga", "3d"] }, "a"),
  aSelectRule("nics", { class: "ethernet" }, "b", { min: 2, max: 2 }),
]);

function shown(world: World, question: Question): string {
  const answer = explain(world, question, "agent");
  return answer.ok ? renderExplanation(answer.value).join("\n") : answer.error.message;
}

describe("an explanation for people", () => {
  const world = aWorld(
    { devices: [gpu, sound, nic], policy, vms: { a: up(), b: up() } },
    { protections: new Map([[nic.address, protectedBy("eth0 is up", { level: "soft" })]]) },
  );

  it("of a device begins with the verdict and ends with every rule, key by key", () => {
    expect(shown(world, { about: "device", address: "65:00.0" })).toBe(`\
0000:65:00.0  10de:2204  VGA controller  on nouveau
Verdict: for a, by rule gpus
Next: bind

IOMMU group 101:
  ADDRESS       CLASS           DRIVER      PART       VM
  0000:65:00.0  VGA controller  on nouveau  member     a
  0000:65:00.1  audio device    no driver   companion

Rules, in the order of who goes first:
gpus (batch, for a): gives it to a
  yes  vendor  wants 10de       has 10de
  yes  class   wants vga or 3d  has 030000
nics (select, for b): does not match: class
  no  class  wants ethernet  has 030000`);
  });

  it("of a device says what the host needs it for", () => {
    expect(shown(world, { about: "device", address: "17:00.0" })).toContain("\nIn use: eth0 is up\n");
  });

  it("of a rule shows what becomes of each match, and what it misses by one key", () => {
    expect(shown(world, { about: "rule", name: "gpus" })).toBe(`\
Rule gpus: batch, for a, matches 1, gives 1

ADDRESS       CLASS           WHAT BECOMES OF IT
0000:65:00.0  VGA controller  gives it to a

Near misses, by one key:
ADDRESS       CLASS         KEY    WANTED     FOUND
0000:65:00.1  audio device  class  vga or 3d  040300`);
  });

  it("of a VM shows each rule that is for it, and what it waits for", () => {
    expect(shown(world, { about: "vm", name: "b" })).toBe(`\
VM b, running

Rule nics: select, matches 1, gives 0
Short: it needs 2 and can have 0
ADDRESS       CLASS                WHAT BECOMES OF IT
0000:17:00.0  Ethernet controller  in use: eth0 is up; a rule with takeConfigured: true takes it all
                                   the same

Held:
ADDRESS       RULE  WHY
0000:17:00.0  nics  in use: eth0 is up; a rule with takeConfigured: true takes it all the same`);
  });

  it("shows which field an expression lacks, beside those that it has", () => {
    const policy = aPolicy([aRule("near", { when: 'numaNode == 1 && vendor == "10de"' }, "a")]);
    const text = shown(aWorld({ devices: [gpu], policy }), { about: "device", address: gpu.address });
    expect(text).toMatch(/^ {2}\? +when .* NUMA node not known \(has numaNode=\? vendor=10de\)$/m);
    expect(shown(aWorld({ devices: [gpu], policy }), { about: "rule", name: "near" })).toContain(
      "matches nothing for certain, gives 0; 1 device could not be judged: NUMA",
    );
  });

  it("says so when no rule is for a VM", () => {
    const bare = aWorld({ devices: [gpu], policy: aPolicy([]), vms: { a: up() } });
    expect(shown(bare, { about: "vm", name: "a" })).toBe("VM a, running\nNo rule is for it.");
  });

  it("shows as many near misses as a screen holds, and how many more there are", () => {
    const many = Array.from({ length: 30 }, (_, index) => aDevice(`0000:${(index + 16).toString(16)}:00.0`));
    const rule = aRule("r", { vendor: "10de", class: "nvme" }, "a");
    const text = shown(aWorld({ devices: many, policy: aPolicy([rule]) }), { about: "rule", name: "r" });
    expect(text.match(/^0000:/gm)).toHaveLength(20);
    expect(text).toMatch(/\nand 10 more$/);
  });

  it("writes out control characters, whoever they are from", () => {
    const evil = aDevice("0000:65:00.0", { driver: "x\u001b[2J" });
    const because = "\u0007bell\r";
    const protections = new Map([[evil.address, protectedBy(because)]]);
    const text = shown(aWorld({ devices: [evil], policy }, { protections }), {
      about: "device",
      address: evil.address,
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
    expect(text).toContain("\\u001b[2J");
  });
});
