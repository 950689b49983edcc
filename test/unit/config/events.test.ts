import { describe, expect, it } from "vitest";
import { parseEvents } from "../../../src/config/events.js";
import { formatIssues } from "../../../src/config/load.js";

function events(text: string) {
  const parsed = parseEvents(text, "events.yaml");
  if (!parsed.ok) {
    throw new Error(formatIssues(parsed.error));
  }
  return parsed.value;
}

function complaint(text: string): string {
  const parsed = parseEvents(text, "events.yaml");
  return parsed.ok ? "" : formatIssues(parsed.error);
}

describe("the events file of a rehearsal", () => {
  it("says what happens to cards and VMs, in the order of the file", () => {
    const text = `
- {at: 2s, plug: {like: "0000:65:00.0", address: "0000:66:00.0"}}
- plug: {address: "0000:67:00.0", vendor: "10de", device: "2204", class: "030000", iommuGroup: 7, numaNode: 1}
- {plug: "0000:65:00"}
- {unplug: "0000:65:00.0"}
- {vm-start: a}
- {vm-stop: a}
- {vm-restart: a}
- {eject: {vm: a, address: "0000:65:00.0"}}
- {policy: other.yaml}
- {wait: 60s}
`;
    expect(events(text)).toEqual([
      { kind: "plug", atMs: 2_000, plug: { like: "0000:65:00.0", address: "0000:66:00.0" } },
      {
        kind: "plug",
        atMs: null,
        plug: {
          address: "0000:67:00.0",
          vendor: "10de",
          device: "2204",
          class: "030000",
          iommuGroup: 7,
          numaNode: 1,
        },
      },
      { kind: "plug", atMs: null, plug: { address: "0000:65:00" } },
      { kind: "unplug", atMs: null, place: "0000:65:00.0" },
      { kind: "vm-start", atMs: null, vm: "a" },
      { kind: "vm-stop", atMs: null, vm: "a" },
      { kind: "vm-restart", atMs: null, vm: "a" },
      { kind: "eject", atMs: null, vm: "a", address: "0000:65:00.0" },
      { kind: "policy", atMs: null, path: "other.yaml" },
      { kind: "wait", atMs: null, ms: 60_000 },
    ]);
  });

  it("may be empty: then nothing happens", () => {
    expect([events(""), events("# nothing\n\n"), events("[]")]).toEqual([[], [], []]);
  });

  it("is read as JSON too", () => {
    expect(events('[{"unplug": "0000:65:00.0"}]')).toEqual([
      { kind: "unplug", atMs: null, place: "0000:65:00.0" },
    ]);
  });

  it.each([
    ["{}", /expected a list of events/],
    ["- {at: 1s}", /events.yaml:1:3: \[0\]: expected exactly one of plug, unplug, .*: none/],
    ["- {wait: 1s, vm-stop: a}", /expected exactly one of .*: vm-stop and wait/],
    ["- {unplug: 65}", /\[0\]\.unplug: expected an address such as 0000:65:00.0/],
    ["- {plug: {address: '0000:65:00.0', vendor: 10}}", /\[0\]\.plug\.vendor: expected four hex digits/],
    ["- {plug: {address: '0000:65:00.0', driver: '../x'}}", /\[0\]\.plug\.driver: expected a driver's name/],
    ["- {vm-begin: a}", /:1:4: \[0\]\.vm-begin: is not a key here: expected at, plug, unplug, /],
    ["- {wait: 1s}\n- {vm-stpo: a}", /:2:4: \[1\]\.vm-stpo: is not a key here[\s\S]*did you mean vm-stop\?/],
    [
      "- plug:\n    address: '0000:65:00.0'\n    vendr: '10de'",
      /:3:5: \[0\]\.plug\.vendr: is not a key here: expected address, like, [\s\S]*did you mean vendor\?/,
    ],
    [
      "- {plug: {like: '0000:65:00.0'}}",
      /:1:10: \[0\]\.plug\.address: is missing: expected an address such as/,
    ],
    ["- {eject: {vm: a}}", /\[0\]\.eject\.address: is missing: expected a full address/],
    ["- {plug: '65:00.0'}", /:1:10: \[0\]\.plug: has no domain: write 0000:65:00\.0$/m],
    ["- {unplug: '0B:00'}", /\[0\]\.unplug: has no domain: write 0000:0b:00$/m],
    ["- {eject: {vm: a, address: '65:00.0'}}", /address: has no domain: write 0000:65:00\.0$/m],
    ["- {plug: here}", /\[0\]\.plug: expected an address such as 0000:65:00\.0/],
    ["- {plug: [a]}", /\[0\]\.plug: expected an address, or a map/],
    ["- {wait: soon}", /\[0\]\.wait: expected a duration/],
    ["- {at: 5s, vm-stop: a}\n- {at: 4s, vm-start: a}", /events.yaml:2:8: \[1\]\.at: is earlier/],
  ])("refuses %s and says where and why", (text, why) => {
    expect(complaint(text)).toMatch(why);
  });
});
