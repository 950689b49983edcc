import { expect, it } from "vitest";
import { PORT_TYPES } from "../../src/qemu/ports.js";
import { connectQmp } from "../../src/qmp/client.js";
import { startQemu } from "../support/qemu-process.js";

it("knows every kind of PCI Express port that the installed QEMU has", async () => {
  await using qemu = await startQemu();
  await using client = await connectQmp({ path: qemu.path });
  const types = await client.execute("qom-list-types", { implements: "pcie-slot", abstract: false });
  expect(types.map((type) => type.name).sort()).toEqual([...PORT_TYPES].sort());
});
