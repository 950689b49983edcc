import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  AREAS,
  type Carrier,
  NO_FACTS,
  type Protection,
  type ProtectionFacts,
  protect,
  USE_LEVELS,
  type Use,
} from "../../../src/core/protection.js";
import { parseProtectionFacts } from "../../../src/core/protection-recording.js";
import { aDevice, anAddress, aRule } from "../../support/builders.js";

const gpu = aDevice("0000:01:00.0", { class: "030000", bootVga: true });
const nic = aDevice("0000:02:00.0", { class: "020000", driver: "igb" });
const disk = aDevice("0000:03:00.0", { class: "010802", driver: "nvme" });
const usb = aDevice("0000:04:00.0", { class: "0c0330" });
const psp = aDevice("0000:06:00.0", { class: "108000" });
const bridge = aDevice("0000:00:01.0", { class: "060400" });
const { class: _, ...classless } = aDevice("0000:05:00.0");
const all = [bridge, gpu, nic, disk, usb, psp];

function facts(parts: Partial<ProtectionFacts>): ProtectionFacts {
  return { ...NO_FACTS, ...parts };
}

function carrier(id: string, parts: Partial<Carrier> = {}): Carrier {
  return { id, label: id.slice(id.indexOf("/") + 1), on: [], functions: [], otherwise: [], ...parts };
}

function use(id: string, what: string, parts: Partial<Use> = {}): Use {
  return { carrier: id, what, level: "hard", isLiftable: true, isGrounded: true, ...parts };
}

/** Everything protected but the bridge, which always is. */
function protectedBy(parts: Partial<ProtectionFacts>): readonly string[] {
  return [...protect(all, facts(parts)).keys()].filter((address) => address !== bridge.address);
}

const onDisk = carrier("block/nvme0n1", { functions: [disk.address], otherwise: [] });

describe("protection", () => {
  it("covers bridges for ever, and nothing else that the host does not need", () => {
    expect(protect(all, NO_FACTS)).toEqual(
      new Map([[bridge.address, { because: "it is a bridge", level: "hard", isLiftable: false }]]),
    );
  });

  it("covers what may be a bridge, because its class cannot be read", () => {
    expect(protect([classless], NO_FACTS).get(classless.address)).toMatchObject({ isLiftable: false });
  });

  it("follows what is stacked down to every function, and names the chain", () => {
    const carriers = [
      carrier("block/dm-0", { label: "vg0-root", on: ["block/md0"] }),
      carrier("block/md0", { on: ["block/nvme0n1", "block/sda"] }),
      onDisk,
      carrier("block/sda", { functions: [usb.address] }),
    ];
    const uses = [use("block/dm-0", "/", { isLiftable: false })];
    const found = protect(all, facts({ carriers, uses }));
    expect(found.get(disk.address)).toEqual({
      because: "it carries / through vg0-root on md0 on nvme0n1",
      level: "hard",
      isLiftable: false,
    });
    expect(found.get(usb.address)?.because).toBe("it carries / through vg0-root on md0 on sda");
  });

  it("ends where carriers stand on each other in a circle", () => {
    const carriers = [
      carrier("block/a", { on: ["block/b"] }),
      carrier("block/b", { on: ["block/a"], functions: [disk.address] }),
    ];
    expect(protectedBy({ carriers, uses: [use("block/a", "/srv")] })).toEqual([disk.address]);
  });

  it("is soft for an interface with an address, and hard for what a bridge with one stands on", () => {
    const eth0 = carrier("net/eth0", { functions: [nic.address] });
    const address = (id: string): Use =>
      use(id, "an address of the host", { level: "soft-unless-stacked", isGrounded: false });
    expect(protect(all, facts({ carriers: [eth0], uses: [address("net/eth0")] })).get(nic.address)).toEqual({
      because: "it carries an address of the host through eth0",
      level: "soft",
      isLiftable: true,
    });
    const br0 = carrier("net/br0", { on: ["net/eth0"] });
    expect(
      protect(all, facts({ carriers: [br0, eth0], uses: [address("net/br0")] })).get(nic.address),
    ).toMatchObject({ because: "it carries an address of the host through br0 on eth0", level: "hard" });
  });

  it("keeps the strongest of several reasons, in whatever order they come", () => {
    const uses = [
      use("block/nvme0n1", "a link", { level: "soft" }),
      use("block/nvme0n1", "/", { isLiftable: false }),
      use("block/nvme0n1", "/srv"),
    ];
    for (const order of [uses, [...uses].reverse()]) {
      expect(protect(all, facts({ carriers: [onDisk], uses: order })).get(disk.address)).toMatchObject({
        because: "it carries / through nvme0n1",
        isLiftable: false,
      });
    }
  });

  it("covers all that could be it where a use leads to nothing we know", () => {
    const pool = carrier("zfs/tank", { label: "the ZFS pool tank", otherwise: ["storage"] });
    const uses = [use("zfs/tank", "/tank")];
    expect(protectedBy({ carriers: [pool], uses })).toEqual([disk.address, usb.address, psp.address]);
    expect(protect(all, facts({ carriers: [pool], uses })).get(disk.address)?.because).toBe(
      "the host has /tank through the ZFS pool tank, which leads to no device we know",
    );
  });

  it("covers all disks where a carrier is named that is not shown", () => {
    expect(protectedBy({ uses: [use("block/sdq", "/srv")] })).toEqual([
      disk.address,
      usb.address,
      psp.address,
    ]);
  });

  it("covers nothing more for what needs no function: memory, the board, an idle tunnel", () => {
    const carriers = [carrier("block/zram0"), carrier("net/tun0", { otherwise: ["network"] })];
    const uses = [use("block/zram0", "swap"), use("net/tun0", "a link", { isGrounded: false })];
    expect(protectedBy({ carriers, uses })).toEqual([]);
  });

  it("covers the boot VGA only while the console is on a screen", () => {
    expect(protectedBy({ isConsoleOnScreen: true })).toEqual([gpu.address]);
    expect(protectedBy({ isConsoleOnScreen: false })).toEqual([]);
  });

  it("covers a network device with a driver but no interface, once somebody looked for interfaces", () => {
    expect(protectedBy({ withInterface: null })).toEqual([]);
    expect(protectedBy({ withInterface: [nic.address] })).toEqual([]);
    expect(protectedBy({ withInterface: [] })).toEqual([nic.address]);
    for (const driver of [null, "vfio-pci", "mlx5_vfio_pci", "pci-stub"]) {
      expect(protect([{ ...nic, driver }], facts({ withInterface: [] })).size).toBe(0);
    }
  });

  it("covers the ways to the BMC, by class or by driver", () => {
    const kcs = aDevice("0000:07:00.0", { class: "0c0701", driver: null });
    const ilo = aDevice("0000:07:00.2", { class: "088000", driver: "hpilo" });
    expect([...protect([kcs, ilo], NO_FACTS).values()].map(({ because }) => because)).toEqual([
      "it is the host's way to its BMC",
      "it is the host's way to its BMC",
    ]);
  });

  it("covers the processor that may be the TPM where the TPM has no function of its own", () => {
    const carriers = [carrier("device/tpm0", { otherwise: ["tpm"] })];
    expect(protectedBy({ carriers, uses: [use("device/tpm0", "the TPM")] })).toEqual([psp.address]);
  });

  it("covers, when facts cannot be read, every device that they could be about", () => {
    const about = (area: (typeof AREAS)[number]) =>
      protectedBy({ unknown: [{ area, detail: "unreadable", isLiftable: true }] });
    expect(about("storage")).toEqual([disk.address, usb.address, psp.address]);
    expect(about("network")).toEqual([nic.address, usb.address, psp.address]);
    expect(about("console")).toEqual([gpu.address, usb.address, psp.address]);
    expect(about("tpm")).toEqual([psp.address]);
  });

  it("covers a PF for good while it has VFs, with the reason of a VF that the host needs", () => {
    const vf = aDevice("0000:02:10.0", { class: "020000", driver: null, physfn: nic.address });
    expect(protect([nic, vf], NO_FACTS)).toEqual(
      new Map([[nic.address, { because: "it has the VF 0000:02:10.0", level: "hard", isLiftable: false }]]),
    );
    const carriers = [carrier("net/eth0", { functions: [vf.address] })];
    const uses = [use("net/eth0", "the default route")];
    expect(protect([nic, vf], facts({ carriers, uses })).get(nic.address)?.because).toBe(
      "its VF 0000:02:10.0: it carries the default route through eth0",
    );
  });

  it("covers what the operator lists, and what cannot be told from it", () => {
    const { match: disks } = aRule("r", { class: "nvme" }, "a");
    const { match: intel } = aRule("r", { vendor: "8086" }, "a");
    const options = { operator: [disks, intel] };
    const { vendor: _vendor, ...nameless } = nic;
    const found = protect([gpu, disk, nameless], NO_FACTS, options);
    expect([...found]).toEqual([
      [
        disk.address,
        { because: "the operator lists it as needed by the host", level: "hard", isLiftable: true },
      ],
      [nic.address, expect.objectContaining({ level: "hard", isLiftable: true })],
    ]);
  });
});

const address = fc.constantFrom(...all.map((device) => device.address));
const id = fc.constantFrom("block/a", "block/b", "net/c", "net/d");
const arbitraryCarrier: fc.Arbitrary<Carrier> = fc.record({
  id,
  label: fc.string(),
  on: fc.array(id, { maxLength: 3 }),
  functions: fc.array(address, { maxLength: 2 }),
  otherwise: fc.subarray([...AREAS]),
});
const arbitraryUse: fc.Arbitrary<Use> = fc.record({
  carrier: id,
  what: fc.string(),
  level: fc.constantFrom(...USE_LEVELS),
  isLiftable: fc.boolean(),
  isGrounded: fc.boolean(),
});
const unknownFact = fc.record({
  area: fc.constantFrom(...AREAS),
  detail: fc.string(),
  isLiftable: fc.boolean(),
});
const arbitraryFacts: fc.Arbitrary<ProtectionFacts> = fc.record({
  carriers: fc.uniqueArray(arbitraryCarrier, { selector: (entry) => entry.id }),
  uses: fc.array(arbitraryUse, { maxLength: 4 }),
  unknown: fc.array(unknownFact, { maxLength: 2 }),
  withInterface: fc.option(fc.array(address)),
  isConsoleOnScreen: fc.boolean(),
});

function strength(protection: Protection | undefined): number {
  return protection === undefined
    ? 0
    : (protection.level === "hard" ? 3 : 1) + (protection.isLiftable ? 0 : 1);
}

describe("whatever is known of a host", () => {
  it("one more use, or one more fact that is not known, never weakens a protection", () => {
    fc.assert(
      fc.property(arbitraryFacts, arbitraryUse, unknownFact, (known, more, unknown) => {
        const before = protect(all, known);
        for (const wider of [
          { ...known, uses: [...known.uses, more] },
          { ...known, unknown: [...known.unknown, unknown] },
        ]) {
          const after = protect(all, wider);
          for (const device of all) {
            expect(strength(after.get(device.address))).toBeGreaterThanOrEqual(
              strength(before.get(device.address)),
            );
          }
        }
      }),
    );
  });

  it("the order of devices, carriers and uses changes no level", () => {
    fc.assert(
      fc.property(arbitraryFacts, (known) => {
        const turned = {
          ...known,
          carriers: [...known.carriers].reverse(),
          uses: [...known.uses].reverse(),
        };
        const [one, other] = [protect(all, known), protect([...all].reverse(), turned)];
        for (const device of all) {
          expect(strength(one.get(device.address))).toBe(strength(other.get(device.address)));
        }
      }),
    );
  });

  it("is the same after a recording", () => {
    fc.assert(
      fc.property(arbitraryFacts, (known) => {
        expect(parseProtectionFacts(JSON.parse(JSON.stringify(known)))).toEqual(known);
      }),
    );
  });
});

describe("protection facts of a recording", () => {
  const whole: ProtectionFacts = {
    carriers: [onDisk],
    uses: [use("block/nvme0n1", "/")],
    unknown: [{ area: "network", detail: "no routes", isLiftable: true }],
    withInterface: [anAddress("0000:02:00.0")],
    isConsoleOnScreen: true,
  };

  it("are believed when they are whole", () => {
    expect(parseProtectionFacts(whole)).toEqual(whole);
  });

  it.each<[string, unknown]>([
    ["nothing", undefined],
    ["a list", []],
    ["a missing part", { ...whole, uses: undefined }],
    ["no word on the console", { ...whole, isConsoleOnScreen: "yes" }],
    ["an address without a domain", { ...whole, withInterface: ["02:00.0"] }],
    ["a carrier on nothing named", { ...whole, carriers: [{ ...onDisk, on: [7] }] }],
    ["a carrier without a name", { ...whole, carriers: [{ ...onDisk, id: undefined }] }],
    ["a level that does not exist", { ...whole, uses: [{ ...whole.uses[0], level: "firm" }] }],
    ["an area that does not exist", { ...whole, unknown: [{ ...whole.unknown[0], area: "weather" }] }],
    ["an entry that is none", { ...whole, uses: [null] }],
  ])("are refused with %s", (_what, value) => {
    expect(parseProtectionFacts(value)).toBeUndefined();
  });
});
