import { describe, expect, it } from "vitest";
import { readPorts } from "../../../src/qemu/ports.js";
import { portLines } from "../../support/port-lines.js";
import { KNOWN_MACHINES } from "../../support/qemu-machines.js";
import { replayOf } from "../../support/qom-replay.js";

describe("the ports of a recorded machine", () => {
  it.each(KNOWN_MACHINES)("are those of $name", async ({ name, ports }) => {
    const replay = replayOf(`view-${name}`);
    expect(portLines(await readPorts(replay))).toEqual(ports);
    expect(replay.unanswered).toEqual([]);
  });

  it("have the bus and the QOM paths that device_add and later questions need", async () => {
    const ports = await readPorts(replayOf("view-q35-native"));
    expect(ports[0]).toEqual({
      bus: "rp0",
      path: "/machine/peripheral/rp0/rp0",
      type: "pcie-root-port",
      mode: "native",
      state: { kind: "free" },
      addr: "0",
      reserve: { memory: null, prefetchable: null },
    });
  });

  it("are found in the recorded enumeration too, where a plugged port looks free to query-pci", async () => {
    const ports = await readPorts(replayOf("2-enumeration"));
    expect(portLines(ports)).toContain("rp0 0 acpi plugged by nic0");
  });

  it("never need query-pci", async () => {
    const replay = replayOf("view-q35");
    await readPorts(replay);
    expect(replay.asked.filter((question) => !question.startsWith('["qom-'))).toEqual([]);
  });
});
