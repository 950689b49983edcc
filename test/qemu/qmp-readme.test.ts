/** The README's example of `pciplug/qmp`, run as it stands by plain Node on the packed package, against a real QEMU. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { PackedPackage, readmeExample } from "../support/packed.js";
import { startQemu } from "../support/qemu-process.js";

const run = promisify(execFile);
/** A port of its own controller lets a device go that no guest has seen yet (facts.md 3). */
const NATIVE = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"];

it("does what it says", { timeout: 120_000 }, async () => {
  using packed = new PackedPackage();
  const example = packed.write("example.mjs", readmeExample());
  await using qemu = await startQemu([...NATIVE, "-device", "pcie-root-port,id=rp0,chassis=1,slot=1"]);
  const { stdout, stderr } = await run(process.execPath, [example, qemu.path]);
  expect(stderr).toBe("");
  // A virtio device is two in QEMU: the card, and what is on it.
  expect([...new Set(stdout.split("\n"))]).toEqual([
    expect.stringMatching(/^QEMU \d+ is prelaunch$/),
    "/machine/peripheral/rng0 is gone",
    "it emulates x86_64",
    "heard DEVICE_DELETED",
    "heard SHUTDOWN",
    "",
  ]);
  const late = await run(process.execPath, [example, qemu.path]).catch((error: unknown) => error);
  expect(late).toMatchObject({
    code: 69,
    stderr: expect.stringMatching(/^qmp\.(absent|refused): cannot connect/),
  });
});
