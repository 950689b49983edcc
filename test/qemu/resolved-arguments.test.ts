/**
 * A real QEMU starts with what `resolve` prints. An emulated card stands in for vfio-pci, which needs a host's own: only
 * the driver and how it names the host's device are replaced.
 */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { RuleTraits, VmSpec } from "../../src/core/policy.js";
import { resolve } from "../../src/core/resolve.js";
import { qemuLine } from "../../src/core/resolve-text.js";
import { readPorts } from "../../src/qemu/ports.js";
import { aDevice, aPolicy, aRule, aWorld } from "../support/builders.js";
import { startVm } from "../support/qemu-vm.js";

const ROOT_PORTS = [0, 1, 2].map((n) => `-device pcie-root-port,id=rp${n},chassis=${n + 1}`).join(" ");
const FIRST = "pciplug-0000-17-00.0";
const SECOND = "pciplug-0000-65-00.1";

function lineFor(
  vm: Partial<VmSpec>,
  addresses = ["0000:17:00.0", "0000:65:00.1"],
  traits: Partial<RuleTraits> = {},
): string {
  const devices = addresses.map((address) => aDevice(address));
  const vms = [{ name: "a", qmp: "/run/a.sock", ...vm }];
  const policy = aPolicy([aRule("all", { vendor: "10de" }, "a", traits)], { vms });
  const resolved = resolve(aWorld({ devices, policy }), "a");
  if (!resolved.ok) {
    throw new Error(resolved.error.reasons.join("; "));
  }
  return qemuLine(resolved.value);
}

function emulated(line: string): string {
  return line.replaceAll(/vfio-pci,host=[0-9a-f:.]+,/g, "e1000e,");
}

/** What QEMU says when it ends by itself. */
function refusalOf(machine: string, line: string): string {
  const args = ["-M", machine, "-S", "-m", "64", "-display", "none", "-nodefaults", ...line.split(" ")];
  return spawnSync("qemu-system-x86_64", args, { encoding: "utf8", timeout: 30_000 }).stderr;
}

describe("the arguments for a VM with ports", () => {
  it("put each device under its id into its port, where the agent can find it and take it out", async () => {
    const line = lineFor({ ports: ["rp2", "rp0"] });
    await using started = await startVm({ args: `${ROOT_PORTS} ${emulated(line)}` });
    const ports = await readPorts(started.client);
    expect(ports.map(({ bus, state }) => [bus, state.kind === "plugged" ? state.by : state.kind])).toEqual([
      ["rp0", [SECOND]],
      ["rp1", "free"],
      ["rp2", [FIRST]],
    ]);
    expect(await started.client.execute("device_del", { id: FIRST })).toEqual({});
  });

  it("put a card with two functions into one port", async () => {
    const traits = { unit: "card", plug: "card" } as const;
    const line = lineFor({ ports: ["rp1"] }, ["0000:65:00.0", "0000:65:00.1"], traits);
    await using started = await startVm({ args: `${ROOT_PORTS} ${emulated(line)}` });
    const port = (await readPorts(started.client)).find(({ bus }) => bus === "rp1");
    expect(port?.state).toEqual({ kind: "plugged", by: ["pciplug-0000-65-00.0", SECOND] });
  });

  it("are refused by QEMU for the lack of the host's device, not for how they are written", () => {
    const machine = "q35";
    expect(refusalOf(machine, `${ROOT_PORTS} ${lineFor({ ports: ["rp0", "rp1"] })}`)).toMatch(
      /0000:17:00\.0: no such host device/,
    );
    // VMD's domains: host= would not take one ("Property 'vfio-pci.host' doesn't take value").
    expect(refusalOf(machine, lineFor({}, ["10000:e1:00.0"]))).toMatch(/10000:e1:00\.0: no such host device/);
    expect(refusalOf(machine, "-device vfio-pci,host=10000:e1:00.0")).toMatch(/doesn't take value/);
  });

  it("are the same words after a shell has split and expanded them", () => {
    const line = lineFor({ ports: ["rp0", "rp1"] });
    const split = spawnSync("sh", ["-c", 'for word in $1; do echo "$word"; done', "sh", line], {
      encoding: "utf8",
    });
    expect(split.stdout.trimEnd().split("\n")).toEqual(line.split(" "));
  });
});

describe("the arguments for a VM without ports", () => {
  it.each(["q35", "pc"])("find a place on %s", async (machine) => {
    const line = lineFor({ machine });
    expect(line).not.toContain("bus=");
    await using started = await startVm({ machine, args: emulated(line) });
    const path = `/machine/peripheral/${FIRST}`;
    expect(await started.client.execute("qom-get", { path, property: "type" })).toBe("e1000e");
  });

  it("are not given for microvm, which has no PCI bus unless it is told to", () => {
    expect(() => lineFor({ machine: "microvm" })).toThrow(/list the ports of a/);
    expect(refusalOf("microvm", "-device e1000e")).toMatch(/No 'PCI' bus found for device 'e1000e'/);
  });
});
