/** Facts that cost a read of their own: read when wished for, once, in children that may hang. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { isSameDevice } from "../../src/core/device.js";
import { type FactWishes, NO_WISHES } from "../../src/core/wishes.js";
import { childKernelIo, type KernelIo, type KernelIoResult } from "../../src/host/kernel-io.js";
import { createScanner, scanOnce } from "../../src/host/scan.js";
import { anAddress } from "../support/builders.js";
import { aFolder, aSysfs, type Sysfs } from "../support/sysfs.js";

const NIC = "0000:01:00.0";
const wishes = (facts: Partial<FactWishes>): FactWishes => ({ ...NO_WISHES, ...facts });

/** A configuration space with a serial number (PCI Express Base Specification, 7.9.3). Made up. */
const space = Buffer.alloc(4096);
space.writeUInt32LE(0x0001_0003, 0x100);
space.writeBigUInt64LE(0x6805caffff123456n, 0x104);

function tree(attributes: Readonly<Record<string, string>> = {}): Sysfs {
  return aSysfs(aFolder(onTestFinished))
    .device({ address: "0000:00:1c.0", class: "060400" })
    .device({ address: NIC, parent: "0000:00:1c.0", attributes });
}

/** The real reads, counted; the given answer instead where there is one. */
function countingIo(answer?: () => KernelIoResult): { readonly io: KernelIo; readonly paths: string[] } {
  const io = childKernelIo();
  const paths: string[] = [];
  const read: KernelIo["read"] = (path, deadlineMs) => {
    paths.push(path);
    return answer === undefined ? io.read(path, deadlineMs) : Promise.resolve(answer());
  };
  return { io: { ...io, read }, paths };
}

const done: KernelIoResult = { kind: "done", text: space.toString("latin1") };

describe("facts that nobody wishes for", () => {
  it("are not read", async () => {
    const { io, paths } = countingIo();
    const [, nic] = await createScanner(tree({ power_state: "D0" }).root, { io }).scan();
    for (const fact of ["serial", "udev", "attributes"]) {
      expect(nic).not.toHaveProperty(fact);
    }
    expect(paths).toEqual([]);
  });
});

describe("the serial number", () => {
  it("is read once per appearance, of endpoints only", async () => {
    const { io, paths } = countingIo(() => done);
    const { root } = tree();
    const scanner = createScanner(root, { io, wishes: () => wishes({ serial: true }) });
    const first = await scanner.scan();
    expect(first.map((device) => device.serial)).toEqual([undefined, "68-05-ca-ff-ff-12-34-56"]);
    const second = await scanner.scan();
    expect(second.every((device, at) => isSameDevice(device, first[at] ?? expect.fail()))).toBe(true);
    expect(paths).toEqual([root.attribute(anAddress(NIC), "config")]);
  });

  it("is read anew when another card is there", async () => {
    const { io, paths } = countingIo(() => done);
    const sysfs = tree();
    const scanner = createScanner(sysfs.root, { io, wishes: () => wishes({ serial: true }) });
    await scanner.scan();
    sysfs.unplug(NIC).device({ address: NIC, parent: "0000:00:1c.0" });
    await scanner.scan();
    expect(paths).toHaveLength(2);
  });

  it("is not known while reads fail, which are tried again ever more rarely", async () => {
    const state = { answer: { kind: "stuck", pid: 1, detail: "hangs" } as KernelIoResult };
    const { io, paths } = countingIo(() => state.answer);
    const scanner = createScanner(tree().root, { io, wishes: () => wishes({ serial: true }) });
    const readsAfter = async (looks: number): Promise<number> => {
      for (let look = 0; look < looks; look += 1) {
        expect((await scanner.scan())[1]).not.toHaveProperty("serial");
      }
      return paths.length;
    };
    expect([await readsAfter(1), await readsAfter(4), await readsAfter(1)]).toEqual([1, 1, 2]);
    expect([await readsAfter(16), await readsAfter(1), await readsAfter(64)]).toEqual([2, 3, 3]);
    state.answer = done;
    expect((await scanner.scan())[1]?.serial).toBe("68-05-ca-ff-ff-12-34-56");
  });

  it("does not hold a look up for longer than a few seconds; the next look reads the rest", async () => {
    const buses = Array.from({ length: 14 }, (_, index) => (index + 16).toString(16));
    const sysfs = aSysfs(aFolder(onTestFinished));
    for (const bus of buses) {
      sysfs.device({ address: `0000:${bus}:00.0` });
    }
    const slow: KernelIo["read"] = () => delay(1_100, done);
    const scanner = createScanner(sysfs.root, {
      io: { ...childKernelIo(), read: slow },
      wishes: () => wishes({ serial: true }),
    });
    const known = async () => (await scanner.scan()).filter(({ serial }) => serial !== undefined).length;
    const first = await known();
    expect([first > 0, first < buses.length]).toEqual([true, true]);
    expect(await known()).toBe(buses.length);
  });

  it("is read by a child from the real file", async () => {
    const { root } = tree();
    writeFileSync(root.attribute(anAddress(NIC), "config"), space);
    const [, nic] = await scanOnce(root, wishes({ serial: true }));
    expect(nic?.serial).toBe("68-05-ca-ff-ff-12-34-56");
  });

  it("appears when the rules begin to ask for it, and goes when they end", async () => {
    const state = { wishes: NO_WISHES };
    const { io } = countingIo(() => done);
    const scanner = createScanner(tree().root, { io, wishes: () => state.wishes });
    expect((await scanner.scan())[1]).not.toHaveProperty("serial");
    state.wishes = wishes({ serial: true });
    expect((await scanner.scan())[1]).toHaveProperty("serial");
    state.wishes = NO_WISHES;
    expect((await scanner.scan())[1]).not.toHaveProperty("serial");
  });
});

describe("sysfs attributes", () => {
  it("are read once, null where the device has none, and stay the same object", async () => {
    const { io, paths } = countingIo();
    const names = ["power_state", "power/control", "sriov_totalvfs"];
    const scanner = createScanner(tree({ power_state: "D0", "power/control": "auto" }).root, {
      io,
      wishes: () => wishes({ attributes: names }),
    });
    const [, first] = await scanner.scan();
    expect(first?.attributes).toEqual({ power_state: "D0", "power/control": "auto", sriov_totalvfs: null });
    const [, second] = await scanner.scan();
    expect(second?.attributes).toBe(first?.attributes);
    // Two attributes of the NIC; the bridge has none of them, and what is not there needs no child.
    expect(paths).toHaveLength(2);
  });

  it("that could block, change the device or lead elsewhere are never opened", async () => {
    const names = [
      ...["uevent", "driver_override", "config", "rom", "vpd", "resource", "resource0_wc", "remove"],
      ...["reset", "reset_method", "rescan", "physfn/config", "../vendor", "a/b/c", "VENDOR", ""],
    ];
    const { io, paths } = countingIo(() => done);
    const { root } = tree(Object.fromEntries(names.slice(0, 11).map((name) => [name, "text"])));
    const [, nic] = await createScanner(root, { io, wishes: () => wishes({ attributes: names }) }).scan();
    expect([nic?.attributes, paths]).toEqual([undefined, []]);
  });

  it("of more than 4 KiB are not known", async () => {
    const long = "x".repeat(4_097);
    const { io } = countingIo();
    const wish = () => wishes({ attributes: ["long", "short"] });
    const [, nic] = await createScanner(tree({ long, short: "y" }).root, { io, wishes: wish }).scan();
    expect(nic?.attributes).toEqual({ short: "y" });
  });
});

describe("what udev says", () => {
  const entry = `run/udev/data/+pci:${NIC}`;

  it("is not known until udev has finished, and is read again when it has changed", async () => {
    const sysfs = tree();
    const scanner = createScanner(sysfs.root, { wishes: () => wishes({ udev: true }) });
    expect((await scanner.scan())[1]).not.toHaveProperty("udev");
    sysfs.file(entry, "I:1\nE:ID_PATH=pci-0000:01:00.0\nE:ID_TAGS=a=b\nG:seat\nV:1\n");
    const [, first] = await scanner.scan();
    expect(first?.udev).toEqual({ ID_PATH: "pci-0000:01:00.0", ID_TAGS: "a=b" });
    const [, second] = await scanner.scan();
    expect(second?.udev).toBe(first?.udev);
    // udevd writes beside and renames, so the inode is another one even within one tick of the clock.
    rmSync(join(sysfs.dir, entry));
    sysfs.file(`${entry}.new`, "").file(entry, "I:2\nE:ID_PATH=other\nV:1\n");
    const [, third] = await scanner.scan();
    expect(third?.udev).toEqual({ ID_PATH: "other" });
  });
});
