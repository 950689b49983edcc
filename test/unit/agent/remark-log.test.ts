import { describe, expect, it } from "vitest";
import { RemarkLog } from "../../../src/agent/remark-log.js";
import type { VmStatus } from "../../../src/core/vm.js";
import { aPort, aProcess, attached, aWorld, up } from "../../support/builders.js";

const microvm = (pid: number): VmStatus =>
  up({ machine: "microvm-machine", process: aProcess({ pid }), ports: [aPort("rp0")] });
const silent: VmStatus = { kind: "unreachable", code: "qmp.timeout", reason: "silent" };

function said(log: RemarkLog, status: VmStatus): readonly string[] {
  return log.news(aWorld({ vms: { a: status } })).map(({ what }) => what);
}

describe("what is remarked on a VM", () => {
  it("is said once for each process, also after it could not be spoken to for a while", () => {
    const log = new RemarkLog();
    const told = [microvm(1), microvm(1), silent, microvm(1), microvm(2), silent, microvm(2)];
    expect(told.map((status) => said(log, status).length)).toEqual([1, 0, 0, 0, 1, 0, 0]);
  });

  it("is said once also where the process was not found at first", () => {
    const log = new RemarkLog();
    const unknown = up({ machine: "microvm-machine", process: null });
    expect([unknown, microvm(1), microvm(1)].map((status) => said(log, status).length)).toEqual([1, 0, 0]);
  });

  it("is nothing for other machines, and for a microvm without ports", () => {
    expect(said(new RemarkLog(), up())).toEqual([]);
    expect(said(new RemarkLog(), up({ machine: "microvm-machine", ports: [] }))).toEqual([]);
  });

  it("names the BARs that a guest found no room for, and where", () => {
    const entry = attached("0000:65:00.0", "rp7", { unassignedBars: [0, 2] });
    expect(said(new RemarkLog(), up({ attached: [entry] }))).toEqual([
      "the guest of a found no room for BAR 0, 2 of 0000:65:00.0 at port rp7: start the VM with a larger mem-reserve or pref64-reserve there",
    ]);
  });
});
