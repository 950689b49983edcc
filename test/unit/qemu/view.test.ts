import { describe, expect, it } from "vitest";
import { readHostAddress, readView } from "../../../src/qemu/view.js";
import { aProcess } from "../../support/builders.js";
import { replayOf } from "../../support/qom-replay.js";

describe("the view of a VM", () => {
  it("says what was recorded of a real one, and passes the process on", async () => {
    const process = aProcess({ pid: 7 });
    const replay = replayOf("view-q35");
    expect(await readView(replay, process)).toMatchObject({
      runState: "prelaunch",
      machine: "pc-q35-7.2-machine",
      memoryBytes: 67_108_864,
      attached: [],
      process,
    });
    expect(replay.unanswered).toEqual([]);
    expect(replay.asked.length).toBeLessThan(100);
  });

  it("reads the host's address from sysfsdev, also where host reads ffff:ff:ff.f", async () => {
    const replay = replayOf("5-vfio-errors");
    expect(await readHostAddress(replay, "/machine/peripheral/h0")).toBe("0000:01:00.0");
    expect(await readHostAddress(replay, "/machine/peripheral/s0")).toBe("0000:01:00.0");
  });

  it("knows no address of a device that is not the host's", async () => {
    expect(await readHostAddress(replayOf("2-enumeration"), "/machine/peripheral/nic0")).toBeNull();
  });
});
