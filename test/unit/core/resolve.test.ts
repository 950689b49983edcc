/** The rules, resolved for a VM that is about to start. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressOfQemuId } from "../../../src/core/address.js";
import { type Device, identityOf } from "../../../src/core/device.js";
import { NO_INTENTS } from "../../../src/core/intent.js";
import type { Rule, VmSpec } from "../../../src/core/policy.js";
import { resolve } from "../../../src/core/resolve.js";
import { environmentLines, qemuLine } from "../../../src/core/resolve-text.js";
import type { World } from "../../../src/core/world.js";
import {
  aDevice,
  aLease,
  aPolicy,
  aRule,
  aSelectRule,
  attached,
  aWorld,
  protectedBy,
  up,
} from "../../support/builders.js";

const gpu = aDevice("0000:65:00.0");
const sound = aDevice("0000:65:00.1", { class: "040300" });
const nic = aDevice("0000:17:00.0", { vendor: "15b3", class: "020000" });
const gpus = aRule("gpus", { vendor: "10de" }, "a");

function worldOf(
  devices: readonly Device[],
  rules: readonly Rule[],
  vm: Partial<VmSpec> = {},
  more: Partial<World> = {},
) {
  const vms = [
    { name: "a", qmp: "/run/a.sock", ...vm },
    { name: "b", qmp: "/run/b.sock" },
  ];
  return aWorld({ devices, policy: aPolicy(rules, { vms }) }, more);
}

function line(world: World, isPartial = false): string {
  const resolved = resolve(world, "a", isPartial);
  return resolved.ok
    ? qemuLine(resolved.value)
    : `${resolved.error.code}: ${resolved.error.reasons.join("; ")}`;
}

describe("the arguments for QEMU", () => {
  it("are one -device for each device, in address order, with the id by which the agent adopts it", () => {
    const world = worldOf([sound, gpu], [gpus], { ports: ["rp0", "rp1", "rp2"] });
    expect(line(world)).toBe(
      "-device vfio-pci,host=0000:65:00.0,id=pciplug-0000-65-00.0,bus=rp0,addr=0 " +
        "-device vfio-pci,host=0000:65:00.1,id=pciplug-0000-65-00.1,bus=rp1,addr=0",
    );
    const resolved = resolve(world, "a");
    expect(resolved.ok && resolved.value.devices.map(({ id }) => addressOfQemuId(id))).toEqual([
      gpu.address,
      sound.address,
    ]);
  });

  it("carry what the rule of each device adds, and go to the port that it names", () => {
    const first = aRule("nic", { vendor: "15b3" }, "a", { port: "rp1" });
    const second = aRule("gpu", { address: gpu.address }, "a", {
      properties: { "x-vga": "on", rombar: "0" },
    });
    expect(line(worldOf([nic, gpu], [first, second], { ports: ["rp0", "rp1"] }))).toBe(
      "-device vfio-pci,host=0000:17:00.0,id=pciplug-0000-17-00.0,bus=rp1,addr=0 " +
        "-device vfio-pci,host=0000:65:00.0,id=pciplug-0000-65-00.0,bus=rp0,addr=0,x-vga=on,rombar=0",
    );
  });

  it("put the functions of one card into one port where its rule says so", () => {
    const card = aRule("card", { vendor: "10de" }, "a", { unit: "card", plug: "card" });
    expect(line(worldOf([sound, gpu], [card], { ports: ["rp0"] }))).toBe(
      "-device vfio-pci,host=0000:65:00.0,id=pciplug-0000-65-00.0,bus=rp0,addr=0.0,multifunction=on " +
        "-device vfio-pci,host=0000:65:00.1,id=pciplug-0000-65-00.1,bus=rp0,addr=0.1",
    );
    expect(line(worldOf([sound, gpu], [card]))).toBe(
      "2: a rule with plug: card needs a port for each card: list the ports of a",
    );
  });

  it("name a domain of more than four digits by its path, for host= takes none", () => {
    const behind = aDevice("10000:01:00.0");
    expect(line(worldOf([behind], [gpus]))).toBe(
      "-device vfio-pci,sysfsdev=/sys/bus/pci/devices/10000:01:00.0,id=pciplug-10000-01-00.0",
    );
  });

  it("name no bus where the VM lists no ports and its machine finds a place by itself", () => {
    const bare = "-device vfio-pci,host=0000:65:00.0,id=pciplug-0000-65-00.0";
    for (const vm of [{}, { machine: "q35" }, { machine: "pc-i440fx-7.2" }, { machine: "pc" }]) {
      expect(line(worldOf([gpu], [gpus], vm))).toBe(bare);
    }
    for (const machine of ["microvm", "virt", "none"]) {
      expect(line(worldOf([gpu], [gpus], { machine }))).toBe(
        `2: machine ${machine} has no place of its own for PCI devices: list the ports of a`,
      );
    }
    expect(line(worldOf([gpu], [gpus], { machine: "microvm", ports: ["rp0"] }))).toBe(
      `${bare},bus=rp0,addr=0`,
    );
  });

  it("are none where a port is wanted twice or the ports are too few", () => {
    const named = aRule("named", { vendor: "10de" }, "a", { port: "rp0" });
    expect(line(worldOf([gpu, sound], [named], { ports: ["rp0", "rp1"] }))).toBe(
      "2: port rp0 is for one device, and rules send 0000:65:00.0 and 0000:65:00.1 there",
    );
    expect(line(worldOf([gpu, sound], [gpus], { ports: ["rp0"] }))).toBe(
      "2: 2 devices need a port each, and the entry of a has 1",
    );
  });

  it("are the same bytes in whatever order the host was looked at, and with or without domains in the rules", () => {
    const devices = [1, 2, 3, 4, 5].map((bus) => aDevice(`0000:0${bus}:00.0`, { numaNode: bus % 2 }));
    const rules = (prefix: string) => [
      aSelectRule(
        "two",
        { address: `${prefix}0[1-3]:00.0` },
        "a",
        { min: 1, max: 2 },
        { prefer: [{ by: "numa" }] },
      ),
      aRule("last", { address: `${prefix}05:00.0` }, "a"),
    ];
    const expected = line(worldOf(devices, rules("0000:"), { numaNode: 0 }));
    expect(expected).toMatch(/^-device vfio-pci,host=0000:01:00\.0,.* -device vfio-pci,host=0000:05:00\.0,/);
    fc.assert(
      fc.property(
        fc.shuffledSubarray(devices, { minLength: devices.length }),
        fc.constantFrom("", "0000:", "*:"),
        (shuffled, prefix) => {
          expect(line(worldOf(shuffled, rules(prefix), { numaNode: 0 }))).toBe(expected);
        },
      ),
    );
  });

  it("do not mind what is leased or attached now: a fresh start decides", () => {
    const other = aDevice("0000:66:00.0");
    const rule = aSelectRule("one", { vendor: "10de" }, "a", { min: 1, max: 1 });
    const world = worldOf([gpu, other], [rule]);
    const running = {
      leases: new Map([[other.address, aLease(other, "a", { rule: "one" })]]),
      vms: new Map([["a", up({ attached: [attached(other.address)] })]]),
    };
    expect(line({ ...world, ...running })).toBe(line(world));
  });

  it("hold no blank, quote or glob character inside an argument", () => {
    const property = fc.stringMatching(/^[A-Za-z0-9._:+/@%=-]{1,12}$/);
    const port = fc.stringMatching(/^[A-Za-z][A-Za-z0-9._-]{0,8}$/);
    fc.assert(
      fc.property(property, port, (value, bus) => {
        const rule = aRule("r", { vendor: "10de" }, "a", { properties: { "x-vga": value } });
        const resolved = resolve(worldOf([gpu], [rule], { ports: [bus] }), "a");
        const words = resolved.ok ? resolved.value.arguments : [];
        expect(words).toHaveLength(2);
        expect(words.every((word) => /^[A-Za-z0-9._:+/@%=,-]+$/.test(word))).toBe(true);
      }),
    );
  });
});

describe("what cannot be resolved", () => {
  it("is everything that has a held device, with its reason and its code", () => {
    const protections = new Map([[gpu.address, protectedBy("it shows the console")]]);
    const two = worldOf([gpu, nic], [gpus, aRule("nics", { vendor: "15b3" }, "a")], {}, { protections });
    expect(line(two)).toBe("5: 0000:65:00.0 is held (rule gpus): protected: it shows the console");
    expect(line(two, true)).toMatch(/^-device vfio-pci,host=0000:17:00\.0,id=\S+$/);
    const partial = resolve(two, "a", true);
    expect(partial).toMatchObject({
      value: { held: [{ address: gpu.address, reason: { kind: "protected" } }] },
    });
  });

  it("is a conflict for both VMs, and for no third one", () => {
    const rules = [gpus, aRule("too", { class: "vga" }, "b")];
    const world = worldOf([gpu], rules);
    expect(line(world)).toMatch(/^4: 0000:65:00\.0 is held .*conflict: rules gpus and too/);
    expect(resolve(world, "b")).toMatchObject({ error: { code: 4 } });
    const third = aWorld({
      devices: [gpu],
      policy: aPolicy([...rules, aRule("no", { class: "nvme" }, "c")]),
    });
    expect(resolve(third, "c")).toMatchObject({ ok: true, value: { arguments: [] } });
  });

  it("is a card that is not the expected one", () => {
    const rule = aRule("gpu", { address: gpu.address }, "a", { expect: { device: "1eb8" } });
    expect(line(worldOf([gpu], [rule]))).toMatch(/^6: .*expected device 1eb8, found device 2204/);
  });

  it("is what was kept from the VM by hand, before any agent runs", () => {
    const inQuarantine = {
      address: gpu.address,
      identity: identityOf(gpu),
      why: "it fell off the bus",
      atMs: 0,
    };
    const quarantines = [{ ...inQuarantine, isCleared: false }];
    const reservations = [{ address: gpu.address, vm: "b", untilMs: 2_000_000, detail: "for b" }];
    const kept = (more: Partial<World>) => line(worldOf([gpu], [gpus], {}, more));
    expect(kept({ intents: { ...NO_INTENTS, quarantines } })).toMatch(/^2: .*it fell off the bus/);
    expect(kept({ intents: { ...NO_INTENTS, reservations } })).toMatch(/^2: .*reserved for b/);
    expect(kept({ intents: { ...NO_INTENTS, reservations }, nowMs: 2_000_000 })).toMatch(/^-device /);
    expect(kept({ areIntentsLost: true })).toMatch(/^2: .*accept-loss/);
  });

  it("is another card than the one that a pinned rule has learnt", () => {
    const pin = {
      rule: "gpus",
      address: gpu.address,
      path: null,
      serial: "00-01",
      identity: identityOf(gpu),
    };
    const world = worldOf(
      [{ ...gpu, serial: "00-02" }],
      [{ ...gpus, isPinned: true }],
      {},
      {
        intents: { ...NO_INTENTS, pins: [pin] },
      },
    );
    expect(line(world)).toMatch(/^6: .*serial 00-01, found .*serial 00-02/);
  });

  it("is a rule that is short, but not what the operator keeps from every VM", () => {
    const rule = aSelectRule("three", { vendor: "10de" }, "a", { min: 3, max: 3 });
    expect(line(worldOf([gpu], [rule]))).toMatch(/^2: .*the rule needs 3 and can have 1/);
    const world = worldOf([gpu], [gpus]);
    const policy = aPolicy([gpus], { never: [gpus.match] });
    expect(line({ ...world, policy })).toBe("");
  });

  it("is a rule that matches nothing and must; others only say so, or nothing", () => {
    const ghost = (onNoMatch: "wait" | "warn" | "fail") =>
      worldOf([nic], [{ ...gpus, onNoMatch }, aSelectRule("s", { vendor: "dead" }, "a", { min: 1, max: 1 })]);
    expect(line(ghost("fail"))).toBe("3: rule gpus matches nothing on this host (onNoMatch: fail)");
    expect(line(ghost("fail"), true)).toMatch(/^3: /);
    expect(resolve(ghost("wait"), "a")).toMatchObject({ value: { arguments: [], warnings: [] } });
    expect(resolve(ghost("warn"), "a")).toMatchObject({
      value: { arguments: [], warnings: ["rule gpus matches nothing on this host"] },
    });
  });

  it("is a VM that is not in the file", () => {
    expect(resolve(worldOf([gpu], [gpus]), "c")).toMatchObject({
      error: { code: 64, reasons: ["the file has no VM of that name; there are a, b"] },
    });
  });
});

describe("the variables for a start script", () => {
  it("are quoted lines that a shell takes as they are", () => {
    const resolved = resolve(worldOf([gpu, nic], [gpus, aRule("nics", { vendor: "15b3" }, "a")]), "a");
    expect(resolved.ok && environmentLines(resolved.value)).toEqual([
      "PCIPLUG_DEVICES='0000:17:00.0 0000:65:00.0'",
      "PCIPLUG_QEMU_ARGS='-device vfio-pci,host=0000:17:00.0,id=pciplug-0000-17-00.0 -device vfio-pci,host=0000:65:00.0,id=pciplug-0000-65-00.0'",
    ]);
  });
});
