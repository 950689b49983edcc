/** Recorded hosts: files and unpacked sysfs trees, read by the same eyes as the host itself. */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { captureOf } from "../../src/host/capture.js";
import { readPciNames } from "../../src/host/pci-names.js";
import { lookAtHost, parseRecording, readRecording } from "../../src/host/recording.js";
import { hostRoot } from "../../src/host/root.js";
import { aDevice } from "../support/builders.js";
import { aFolder, aSysfs } from "../support/sysfs.js";

const fixtures = resolve(import.meta.dirname, "../../fixtures");
const capturing = { capturedBy: "pciplug 0.0.0", withSerials: false };

describe("an unpacked sysfs tree", () => {
  it.each([
    ["ghw-i7-1270p", "ghw-i7-1270p-laptop.json"],
    ["hwloc-2pa-pcidomain32bits", "hwloc-2pa-pcidomain32bits.json"],
  ])("%s says what the file about the same machine says", async (tree, file) => {
    const fromFile = (await readRecording(join(fixtures, "hosts", file))).devices;
    const fromTree = (await readRecording(join(fixtures, "sysfs", tree))).devices;
    const common = [
      "address",
      "vendor",
      "device",
      "class",
      "numaNode",
      "driver",
      "iommuGroup",
      "parent",
      "path",
    ];
    const facts = (device: object) =>
      Object.fromEntries(common.map((key) => [key, new Map(Object.entries(device)).get(key)]));
    expect(fromTree.map(facts)).toEqual(fromFile.map(facts));
  });

  it("is found one level down, and not guessed at where there are several", async () => {
    const dir = aFolder(onTestFinished);
    const copy = (name: string) =>
      cpSync(join(fixtures, "sysfs/ghw-i7-1270p"), join(dir, name), {
        recursive: true,
        verbatimSymlinks: true,
      });
    mkdirSync(join(dir, "empty"));
    copy("one");
    expect((await readRecording(dir)).devices).toHaveLength(23);
    copy("two");
    await expect(readRecording(dir)).rejects.toMatchObject({
      code: "host.bad-recording",
      message: `cannot read the recorded host ${dir}: it holds several trees; name one of ${dir}/one, ${dir}/two`,
    });
  });

  it("does not say that there is no driver or IOMMU group where nobody collected such links", async () => {
    const [device] = (await readRecording(join(fixtures, "sysfs/hwloc-2pa-pcidomain32bits"))).devices;
    expect(device).not.toHaveProperty("iommuGroup");
    expect(device).toMatchObject({ driver: null });
    const dir = aFolder(onTestFinished);
    aSysfs(dir).device({ address: "0000:01:00.0", iommuGroup: null });
    const [bare] = (await readRecording(dir)).devices;
    // The folder of the IOMMU groups is there, and empty: that is knowledge.
    expect([bare?.iommuGroup, bare !== undefined && "driver" in bare]).toEqual([null, false]);
  });

  it("says what the host needs only where the mounts of PID 1 are in it", async () => {
    const dir = aFolder(onTestFinished);
    const sysfs = aSysfs(dir).device({ address: "0000:01:00.0" });
    expect((await readRecording(dir)).protectionFacts).toBeNull();
    sysfs.file("proc/1/mountinfo", "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n").file("proc/1/net/route", "");
    expect((await readRecording(dir)).protectionFacts).not.toBeNull();
  });
});

describe("a recording that cannot be read", () => {
  it.each([
    ["is not there", () => undefined, /nothing: there is no such file or folder$/],
    ["is an empty folder", (path: string) => mkdirSync(path), /there is no sys\/bus\/pci\/devices in it/],
    ["is no JSON", (path: string) => writeFileSync(path, "\u007fELF"), /it is not JSON/],
  ] as const)("because it %s is named in one sentence", async (_, make, complaint) => {
    const path = join(aFolder(onTestFinished), "nothing");
    make(path);
    await expect(readRecording(path)).rejects.toMatchObject({
      code: "host.bad-recording",
      message: expect.stringMatching(complaint),
    });
  });
});

describe("a capture", () => {
  it.each(["ghw-i7-1270p", "hwloc-2pa-pcidomain32bits"])("of %s has the same devices", async (tree) => {
    const seen = await readRecording(join(fixtures, "sysfs", tree));
    const read = parseRecording(JSON.stringify(captureOf(seen, capturing)), "host.json");
    const recorded = seen.devices.map((device) => ({ ...device, appearance: "recorded", isRecorded: true }));
    expect(read.devices).toEqual(recorded);
  });

  it("of a host carries the mount points only as far as every host has them", async () => {
    const dir = aFolder(onTestFinished);
    aSysfs(dir)
      .device({ address: "0000:01:00.0", class: "010802" })
      .file("proc/1/mountinfo", "21 1 259:1 / /mnt/acme\\040files rw - ext4 /dev/nvme0n1p1 rw\n")
      .file("proc/1/net/route", "")
      .file("proc/sys/kernel/osrelease", "6.1.0-9-amd64\n");
    const seen = await lookAtHost(hostRoot(dir));
    expect(JSON.stringify(seen.protectionFacts)).toContain("acme files");
    const text = JSON.stringify(captureOf(seen, capturing));
    expect(text).not.toMatch(/acme|files/);
    expect(JSON.parse(text)).toMatchObject({ kernel: "6.1.0-9-amd64", capturedBy: "pciplug 0.0.0" });
  });
});

describe("names for people", () => {
  const ids = [
    "# a comment",
    "1022  Advanced Micro Devices, Inc. [AMD]",
    "\t1450  Family 17h Root Complex",
    "10de  NVIDIA Corporation",
    "\t2204  GA102 [GeForce RTX 3090]",
    "\t\t1458 403b  a subsystem",
    "1af4  Red Hat, Inc.",
    "C 03  Display controller",
    "",
  ].join("\n");

  it("come from pci.ids, wherever the distribution keeps it", () => {
    for (const place of ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"]) {
      const { root } = aSysfs(aFolder(onTestFinished)).file(place, ids);
      const namesOf = readPciNames(root);
      expect(namesOf(aDevice("0000:01:00.0"))).toEqual({
        vendor: "NVIDIA Corporation",
        device: "GA102 [GeForce RTX 3090]",
      });
      expect(namesOf(aDevice("0000:01:00.0", { device: "ffff" }))).toEqual({ vendor: "NVIDIA Corporation" });
      expect(namesOf(aDevice("0000:01:00.0", { vendor: "1af4", device: "1041" }))).toEqual({
        vendor: "Red Hat, Inc.",
      });
      expect(namesOf(aDevice("0000:01:00.0", { vendor: "abcd" }))).toEqual({});
    }
  });

  it("are not there without the file", () => {
    const namesOf = readPciNames(aSysfs(aFolder(onTestFinished)).root);
    expect(namesOf(aDevice("0000:01:00.0"))).toEqual({});
  });
});
