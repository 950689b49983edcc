import { describe, expect, it } from "vitest";
import type { Carrier, ProtectionFacts } from "../../../src/core/protection.js";
import { captureOf } from "../../../src/host/capture.js";
import { type HostPicture, parseRecording } from "../../../src/host/recording.js";
import { aDevice, anAddress } from "../../support/builders.js";

const options = { capturedBy: "pciplug 0.0.0", withSerials: false };
const uuid = "0d7f3a51-7c31-4d0e-9d1c-3f1a2b3c4d5e";
const serial = "68-05-ca-ff-ff-12-34-56";

function picture(facts: Partial<HostPicture> = {}): HostPicture {
  return { devices: [], protectionFacts: null, dma: null, kernel: null, mountPoints: [], ...facts };
}

/** Facts that use one disk for each of these. Made up. */
function usedFor(...uses: readonly string[]): ProtectionFacts {
  return {
    carriers: [disk("block/nvme0n1", "nvme0n1")],
    uses: uses.map((what) => ({
      ...{ carrier: "block/nvme0n1", what, level: "hard" as const },
      ...{ isLiftable: true, isGrounded: true },
    })),
    unknown: [],
    withInterface: [],
    isConsoleOnScreen: true,
  };
}

function disk(id: string, label: string, ...on: readonly string[]): Carrier {
  return { id, label, on, functions: [anAddress("0000:01:00.0")], otherwise: ["storage"] };
}

function factsIn(capture: Readonly<Record<string, unknown>>): ProtectionFacts {
  return capture["protectionFacts"] as ProtectionFacts;
}

function usesIn(capture: Readonly<Record<string, unknown>>): string[] {
  return factsIn(capture).uses.map(({ what }) => what);
}

describe("a capture", () => {
  it("is a recording that says the same", () => {
    const devices = [
      aDevice("0000:00:1c.0", { class: "060400", bootVga: false, root: null, path: "0000:00/1c.0" }),
      aDevice("0000:01:00.0", {
        ...{ parent: anAddress("0000:00:1c.0"), root: anAddress("0000:00:1c.0"), rootBus: "0000:00" },
        ...{ path: "0000:00/1c.0/00.0", bootVga: true, slot: "7", label: null, memory: 2 ** 35 },
        ...{ udev: { ID_PATH: "pci-0000:01:00.0" }, attributes: { power_state: "D0", sriov_numvfs: null } },
      }),
    ];
    const seen = picture({
      devices,
      protectionFacts: usedFor("the default route"),
      dma: { weaknesses: ["allow_unsafe_interrupts is on"] },
      kernel: "6.1.0-9-amd64",
    });
    const read = parseRecording(JSON.stringify(captureOf(seen, options)), "host.json");
    expect(read).toEqual({
      ...seen,
      devices: devices.map((device) => ({
        ...device,
        appearance: "recorded",
        isRecorded: true,
        ...placeOnBusZero(device),
      })),
    });
  });

  it("has serial numbers only on request", () => {
    const device = aDevice("0000:01:00.0", { serial, udev: { ID_SERIAL: serial, ID_PATH: "pci" } });
    const text = (withSerials: boolean) =>
      JSON.stringify(captureOf(picture({ devices: [device] }), { ...options, withSerials }));
    expect(text(false)).not.toContain(serial);
    expect(text(true)).toContain(`"serial":"${serial}"`);
    expect(text(true)).toContain(`"ID_SERIAL":"${serial}"`);
    const [read] = parseRecording(text(false), "host.json").devices;
    expect(read).not.toHaveProperty("serial");
  });

  it("names no paths but those that every host has", () => {
    const facts = usedFor(
      "/",
      "/boot/efi",
      "/srv/customers/acme",
      "/mnt/our secret plans",
      "what acme (33) has open, and open '/home/jane/tree/proc/1/mountinfo'",
      "/acme (and /acme/b)",
      "the device 0000:00/1c.0",
    );
    const seen = picture({ protectionFacts: facts, mountPoints: ["/", "/mnt/our secret plans"] });
    expect(usesIn(captureOf(seen, options))).toEqual([
      "/",
      "/boot/efi",
      "/srv/...",
      "/mnt/...",
      "what acme (33) has open, and open '/home/...'",
      "/... (and /...)",
      "the device 0000:00/1c.0",
    ]);
  });

  it("goes by kernel names where people gave others, and leads to the same devices", () => {
    const facts: ProtectionFacts = {
      ...usedFor(),
      carriers: [
        disk("block/sda", "sda"),
        disk("block/dm-0", "acmehost--vg-root", "block/sda"),
        disk("zfs/acmepool", "the ZFS pool acmepool", "block/sda"),
        disk(`btrfs/${uuid}`, "btrfs", "block/dm-0", "zfs/acmepool"),
        disk("net/eth0", "eth0"),
      ],
      uses: [{ carrier: "zfs/acmepool", what: "/", level: "hard", isLiftable: false, isGrounded: true }],
    };
    const capture = captureOf(picture({ protectionFacts: facts }), options);
    expect(JSON.stringify(capture)).not.toMatch(/acme|0d7f3a51/);
    const { carriers, uses } = factsIn(capture);
    expect(carriers.map(({ id, label, on }) => [id, label, ...on])).toEqual([
      ["block/sda", "sda"],
      ["block/dm-0", "dm-0", "block/sda"],
      ["zfs/2", "zfs", "block/sda"],
      ["btrfs/3", "btrfs", "block/dm-0", "zfs/2"],
      ["net/eth0", "eth0"],
    ]);
    expect(uses.map(({ carrier }) => carrier)).toEqual(["zfs/2"]);
  });

  it("leaves out what tells one disk from another, and udev's paths", () => {
    const udev = {
      ID_PATH: "pci",
      ID_NET_NAME_MAC: "enx1",
      ID_WWN: "0x5",
      SYSTEMD_ALIAS: "/sys/x",
      MACHINE: "m",
    };
    const capture = captureOf(
      picture({
        devices: [aDevice("0000:01:00.0", { udev })],
        protectionFacts: usedFor(`a part of ${uuid}`),
      }),
      options,
    );
    expect(usesIn(capture)).toEqual(["a part of ..."]);
    expect(capture["devices"]).toMatchObject([{ udev: { ID_PATH: "pci", MACHINE: "m" } }]);
    expect(JSON.stringify(capture)).not.toMatch(/enx1|0x5|\/sys\/x/);
  });
});

/** What a recording adds of itself: bus 0 is a root bus. */
function placeOnBusZero({ address }: { readonly address: string }): object {
  return address === "0000:00:1c.0" ? { rootBus: "0000:00", path: "0000:00/1c.0", root: null } : {};
}
