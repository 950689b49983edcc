/** What `pciplug status` shows a person. */
import { describe, expect, it } from "vitest";
import { renderStatus } from "../../../src/cli/status.js";
import { aStatus } from "../../support/control-answers.js";

describe("the status for people", () => {
  it("shows the agent, its sources, its VMs with their ports, and its devices", () => {
    expect(renderStatus(aStatus)).toEqual([
      "pciplug 0.1.0, pid 42, acting",
      "policy 0123456789ab from /etc/pciplug/config.yaml, read at 2026-01-02T03:04:06.000Z",
      "",
      "SOURCE   STATE    DETAIL",
      "udevadm  missing  udevadm is not installed",
      "",
      "VM  STATE    PORTS        DEVICES       REASON",
      "a   absent                              no such socket",
      "b   running  1 free of 2  0000:65:00.0",
      "",
      "ADDRESS       ID         CLASS   DRIVER    IOMMU GROUP  VM  STATE     WHY",
      "0000:65:00.0  10de:2204  030000  vfio-pci  12           b   attached",
    ]);
  });

  it("says why the file as it is now was not taken", () => {
    const reasons = ["/etc/c.yaml:3:5: rules[0].match.adress: is not a key\u001b[2J", "/etc/c.yaml:9:1: no"];
    const policy = { ...aStatus.policy!, refused: { at: "2026-01-02T04:00:00.000Z", reasons } };
    expect(renderStatus({ ...aStatus, policy }).slice(2, 5)).toEqual([
      "the file as it is since 2026-01-02T04:00:00.000Z is refused: this policy stays",
      "  /etc/c.yaml:3:5: rules[0].match.adress: is not a key\\u001b[2J",
      "  /etc/c.yaml:9:1: no",
    ]);
  });

  it("knows an agent that is older than that line", () => {
    const { policy: _, ...older } = aStatus;
    expect(renderStatus(older)[1]).toBe("");
  });

  it("says that an agent only observes", () => {
    const [first] = renderStatus({ ...aStatus, agent: { ...aStatus.agent, mode: "observe" } });
    expect(first).toBe("pciplug 0.1.0, pid 42, observing only");
  });

  it("marks what others put into a VM, and shows unknown facts as unknown", () => {
    const vm = {
      name: "b",
      state: "up" as const,
      attached: [
        { address: "0000:02:00.0", id: "gpu0", bus: "rp0", ours: false },
        { address: null, id: null, bus: null, ours: false },
      ],
    };
    const device = {
      address: "0000:02:00.0",
      vendor: null,
      device: null,
      class: null,
      driver: null,
      iommuGroup: null,
      vm: null,
      state: "held" as const,
      held: "not known on this host: vendor",
    };
    const lines = renderStatus({ ...aStatus, vms: [vm], devices: [device] });
    expect(lines).toContain("b   up            0000:02:00.0 (foreign) ? (foreign)");
    expect(lines.at(-1)).toMatch(/^0000:02:00\.0 +\?:\? +\? +- +- +- +held +not known on this host: vendor$/);
  });

  it("says how far a device is, and what its guest makes of it", () => {
    const [device] = aStatus.devices;
    const taken = { leased: true, bound: true, sent: false, taken: true };
    const why = (passage: NonNullable<NonNullable<typeof device>["passage"]>, held: string | null = null) =>
      renderStatus({ ...aStatus, devices: [{ ...device!, held, passage }] }).at(-1);
    expect(why({ ...taken, seen: true })).toMatch(/attached +in use by the guest$/);
    expect(why({ ...taken, seen: false })).toMatch(/attached +not \(yet\) in use by the guest$/);
    expect(why({ ...taken, seen: null })).toMatch(/attached$/);
    expect(why({ ...taken, taken: false, sent: true, seen: null })).toMatch(/QEMU was told to take it$/);
    expect(why({ ...taken, seen: true }, "overdue")).toMatch(/attached +overdue$/);
  });

  it("says what a VM was asked to let go of, how often and for how long, and that its guest is being moved", () => {
    const times = { since: "2026-01-02T03:04:05.000Z", lastAsked: "2026-01-02T03:04:32.000Z", forMs: 27_400 };
    const leaving = { address: "0000:65:00.0", id: "x", mode: "native" as const, ...times };
    const vm = {
      ...aStatus.vms[1]!,
      migration: "active",
      leaving: [
        { ...leaving, state: "overdue" as const, times: 3 },
        { ...leaving, state: "pending" as const, times: 1, mode: "unknown" as const },
      ],
    };
    const lines = renderStatus({ ...aStatus, vms: [vm] });
    expect(lines).toContain("b: 0000:65:00.0 was asked to leave 3 times in 27 s, natively: overdue");
    expect(lines).toContain("b: 0000:65:00.0 was asked to leave once in 27 s: pending");
    expect(lines.some((line) => line.includes("running (migration: active)"))).toBe(true);
  });

  it("cannot be made to move the cursor by a text from the host or a VM", () => {
    const vm = {
      name: "a",
      state: "unreachable" as const,
      reason: "\u001b[2J\u202eevil\nline",
      attached: [],
    };
    const source = { name: "udevadm" as const, state: "missing" as const, detail: "\u009b31m" };
    const text = renderStatus({ ...aStatus, vms: [vm], sources: [source], devices: [] }).join("\n");
    expect(text).toContain("\\u001b[2J\\u202eevil\\u000aline");
    expect(text).toContain("\\u009b31m");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  });
});
