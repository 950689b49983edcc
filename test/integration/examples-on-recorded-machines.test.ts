/** Every worked example, rehearsed by the real agent on the machine that it names: all of it attached, nothing held. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { exitCodeOfRehearsal, type RehearsalReport } from "../../src/core/rehearsal.js";
import { readRecording } from "../../src/host/recording.js";
import { policyOf, recordingOf, tryOut } from "../support/rehearsals.js";

const folder = new URL("../../contrib/examples/", import.meta.url);

/** The rehearsal that the example itself tells its reader to make. */
function told(example: string) {
  const text = readFileSync(new URL(`${example}.yaml`, folder), "utf8");
  const command = /pciplug rehearse --host fixtures\/hosts\/(\S+)\.json(.*)/.exec(text);
  if (command === null) {
    throw new Error(`${example}: does not say how it is rehearsed`);
  }
  return {
    text,
    host: command[1] ?? "",
    isAssumingGroups: command[2]?.includes("--assume-iommu-groups") === true,
  };
}

async function rehearsed(example: string): Promise<RehearsalReport> {
  const { text, host, isAssumingGroups } = told(example);
  const report = await tryOut({ host, rules: policyOf(text), isAssumingGroups });
  expect(report.held).toEqual([]);
  expect(report.assignments.filter(({ state }) => state !== "attached")).toEqual([]);
  expect(exitCodeOfRehearsal(report)).toBe(0);
  return report;
}

/** VM -> the addresses that it has. */
function shares({ assignments }: RehearsalReport): Record<string, string[]> {
  const byVm: Record<string, string[]> = {};
  for (const { vm, address } of assignments) {
    byVm[vm] = [...(byVm[vm] ?? []), address];
  }
  return byVm;
}

describe("a worked example", () => {
  it("gives one GPU and its audio function to its VM", async () => {
    const [functions = []] = Object.values(shares(await rehearsed("one-gpu-with-audio")));
    expect(functions.map((address) => address.slice(-1))).toEqual(["0", "1"]);
    expect(new Set(functions.map((address) => address.slice(0, -2))).size).toBe(1);
  });

  it("spreads all VFs of one NIC evenly over three VMs", async () => {
    const report = await rehearsed("vfs-over-three-vms");
    const { devices } = await readRecording(recordingOf(told("vfs-over-three-vms").host));
    const counts = Object.values(shares(report)).map((all) => all.length);
    expect(counts.length).toBe(3);
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    // Both ports of the card are physical functions of their own.
    const cardOf = (address: string | undefined) =>
      devices.find((device) => device.address === address)?.physfn?.slice(0, -2);
    const cards = new Set(report.assignments.map(({ address }) => cardOf(address)));
    expect(cards.size).toBe(1);
    const all = devices.filter(({ address }) => cards.has(cardOf(address)) && cardOf(address) !== undefined);
    expect(report.assignments.map(({ address }) => address)).toEqual(all.map(({ address }) => address));
  });

  it("gives each VM an NVMe of its own NUMA node", async () => {
    const report = await rehearsed("nvme-per-numa-node");
    const { text, host } = told("nvme-per-numa-node");
    const { devices } = await readRecording(recordingOf(host));
    const nodeOf = new Map(devices.map((device) => [device.address as string, device.numaNode]));
    const homes = new Map(policyOf(text).vms.map((vm) => [vm.name, vm.numaNode]));
    expect(report.assignments.length).toBeGreaterThan(1);
    for (const { address, vm } of report.assignments) {
      expect([vm, nodeOf.get(address)]).toEqual([vm, homes.get(vm)]);
    }
  });

  it("splits a server with sixteen GPUs in two VMs by NUMA node", async () => {
    const report = await rehearsed("gpu-server-by-numa");
    const { devices } = await readRecording(recordingOf(told("gpu-server-by-numa").host));
    const nodeOf = new Map(devices.map((device) => [device.address as string, device.numaNode]));
    const halves = Object.values(shares(report));
    expect(halves.map((all) => all.length)).toEqual([8, 8]);
    expect(halves.map((all) => new Set(all.map((address) => nodeOf.get(address))).size)).toEqual([1, 1]);
  });

  it("gives a laptop's Wi-Fi and Thunderbolt devices to its net VM", async () => {
    const report = await rehearsed("laptop-net-vm");
    const { devices } = await readRecording(recordingOf(told("laptop-net-vm").host));
    const classOf = new Map(devices.map((device) => [device.address as string, device.class]));
    const classes = report.assignments.map(({ address }) => classOf.get(address));
    expect(Object.keys(shares(report))).toHaveLength(1);
    expect(classes).toContain("028000");
    expect(classes.some((code) => code?.startsWith("0c03"))).toBe(true);
  });

  it("is every one that names a machine", () => {
    const named = readdirSync(folder).filter((name) =>
      readFileSync(new URL(name, folder), "utf8").includes("pciplug rehearse --host"),
    );
    expect(named.sort()).toEqual([
      "gpu-server-by-numa.yaml",
      "laptop-net-vm.yaml",
      "nvme-per-numa-node.yaml",
      "one-gpu-with-audio.yaml",
      "vfs-over-three-vms.yaml",
    ]);
  });
});
