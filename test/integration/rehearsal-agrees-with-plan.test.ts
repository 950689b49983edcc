/** A rehearsal and a plan of the same file on the same recording never contradict each other. */
import { describe, expect, it } from "vitest";
import { NO_FACTS, protect } from "../../src/core/protection.js";
import { type HeldReport, reportPlan } from "../../src/core/report.js";
import { wishesOf } from "../../src/core/wishes.js";
import { readRecording } from "../../src/host/recording.js";
import { aWorld } from "../support/builders.js";
import { policyOf, recordingOf, tryOut } from "../support/rehearsals.js";

/** Each asks for a fact that some recordings have and others have not. */
const MATCHES = [
  "{class: [vga, ethernet]}",
  '{class: [vga, audio], driver: "none"}',
  "{class: [vga, audio], driver: unknown}",
  '{class: ethernet, isVf: "false"}',
  "{class: ethernet, root: none}",
  "{class: ethernet, serial: none}",
  "{class: [vga, ethernet], label: none, udev: {ID_PATH: '*'}}",
  '{class: "030000", sysfs: {d3cold_allowed: none}}',
];

interface Decided {
  readonly assignments: readonly { readonly address: string }[];
  readonly held: readonly HeldReport[];
}

function told({ assignments, held }: Decided): string[] {
  return [
    ...assignments.map(({ address }) => `${address} for its VM`),
    ...held.map(({ address, reason }) => `${address} ${reason.message}`),
  ].sort();
}

async function planOf(host: string, rules: string): Promise<string[]> {
  const policy = policyOf(rules);
  const { devices, protectionFacts, dma } = await readRecording(recordingOf(host), wishesOf(policy));
  const protections = protect(devices, protectionFacts ?? NO_FACTS, { operator: [] });
  const world = aWorld({ devices, policy }, { protections, dma: dma ?? { weaknesses: [] } });
  return told(reportPlan(world, "offline"));
}

describe("a rehearsal decides as plan does on the same recording", () => {
  // Without drivers; without IOMMU groups; without places; with nearly everything.
  it.each(["vfio-asokolsky-duo", "ghw-ryzen1600-desktop", "issue-c246-connectx4-vfs", "ghw-i7-1270p-laptop"])(
    "%s",
    async (host) => {
      for (const match of MATCHES) {
        const rules = `vms: [{name: a, qmp: /run/a.sock}]\nrules: [{name: r, match: ${match}, vm: a}]\n`;
        expect({ match, told: told(await tryOut({ host, rules })) }).toEqual({
          match,
          told: await planOf(host, rules),
        });
      }
    },
  );

  it("until an event says what the recording does not", async () => {
    // The sound of this card shares its IOMMU group, and nobody recorded whether it is on a driver.
    const rules =
      'vms: [{name: a, qmp: /run/a.sock}]\nrules: [{name: r, match: {address: "0000:0b:00.0"}, vm: a}]\n';
    const report = await tryOut({
      host: "vfio-joe-p-x570",
      rules,
      events: `
- {unplug: "0000:0b:00.1"}
- {plug: "0000:0b:00.1"}
- {unplug: "0000:0b:00.1"}
- {plug: {address: "0000:0b:00.1", vendor: "10de", device: "10f0", class: "040300"}}
`,
    });
    const blocked = expect.stringMatching(/^0000:0b:00\.0 held: IOMMU group \d+ is blocked by 0000:0b:00\.1/);
    const decisions = report.timeline.map(({ decisions: all }) =>
      all.map(({ address, verdict, reason }) => `${address} ${verdict}: ${reason?.message ?? ""}`),
    );
    expect(decisions).toEqual([
      [blocked],
      ["0000:0b:00.0 assigned: "],
      [blocked],
      ["0000:0b:00.0 assigned: "],
      [],
    ]);
    expect(await planOf("vfio-joe-p-x570", rules)).toEqual([
      expect.stringMatching(/^0000:0b:00\.0 IOMMU group \d+ is blocked by 0000:0b:00\.1/),
    ]);
  });
});
