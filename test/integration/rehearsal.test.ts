/** Policies tried on recorded machines before they touch hardware. */
import { describe, expect, it } from "vitest";
import { processEdge } from "../../src/agent/main.js";
import { type RehearsalScript, rehearse } from "../../src/agent/rehearse.js";
import { parseEvents } from "../../src/config/events.js";
import { formatIssues, parseConfig } from "../../src/config/load.js";
import type { Policy } from "../../src/core/policy.js";
import { recordedHost } from "../support/recorded-hosts.js";

const edge = processEdge("test");

function policy(text: string): Policy {
  const parsed = parseConfig(text, "rules.yaml");
  if (!parsed.ok) {
    throw new Error(formatIssues(parsed.error));
  }
  return parsed.value.policy;
}

function script(
  host: string,
  file: string,
  events: string,
  more: Partial<RehearsalScript> = {},
): RehearsalScript {
  const parsed = parseEvents(events, "events.yaml");
  if (!parsed.ok) {
    throw new Error(formatIssues(parsed.error));
  }
  return {
    devices: recordedHost(host),
    protectionFacts: null,
    dma: null,
    policy: policy(file),
    events: parsed.value,
    policies: new Map(),
    isAssumingGroups: false,
    ...more,
  };
}

describe("x", () => {
  it("dgx2", async () => {
    const t = performance.now();
    const r = await rehearse(
      script(
        "hwloc-nvidia-dgx2",
        `
vms:
  - {name: a, qmp: /run/a.sock}
  - {name: b, qmp: /run/b.sock}
rules:
  - {name: gpus, match: {vendor: "10de", address: "0000:*"}, vm: a}
`,
        `[]`,
        { isAssumingGroups: true },
      ),
      edge,
    );
    console.log(performance.now() - t);
    console.log(JSON.stringify(r, null, 1).slice(0, 3000), r.timeline[0]?.steps.length);
  });
  it("joe", async () => {
    const t = performance.now();
    const r = await rehearse(
      script(
        "vfio-joe-p-x570",
        `
vms:
  - {name: a, qmp: /run/a.sock}
  - {name: b, qmp: /run/b.sock}
rules:
  - {name: gpus, match: {vendor: "10de"}, vm: a}
  - {name: amd, match: {address: "0000:0e:00.*"}, vm: b}
`,
        `
- {vm-restart: a}
- {unplug: "0000:0e:00"}
- {plug: "0000:0e:00"}
- {vm-stop: b}
- {wait: 90s}
- {vm-start: b}
`,
      ),
      edge,
    );
    console.log(performance.now() - t);
    console.log(JSON.stringify(r, null, 1));
  });
});
