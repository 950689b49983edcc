import { describe, expect, it } from "vitest";
import type { ProtectionFacts } from "../../../src/core/protection.js";
import { captureOf } from "../../../src/host/capture.js";
import { type HostPicture, parseRecording } from "../../../src/host/recording.js";
import { aDevice, anAddress } from "../../support/builders.js";

const options = { capturedBy: "pciplug 0.0.0", withSerials: false };
const serial = "68-05-ca-ff-ff-12-34-56";

function picture(facts: Partial<HostPicture> = {}): HostPicture {
  return { devices: [], protectionFacts: null, dma: null, kernel: null, mountPoints: [], ...facts };
}

function because(...texts: readonly string[]): ProtectionFacts {
  const address = anAddress("0000:01:00.0");
  return { needed: texts.map((text) => ({ address, because: text })), unknown: [], isConsoleOnScreen: true };
}

function reasonsIn(capture: Readonly<Record<string, unknown>>): string[] {
  return (capture["protectionFacts"] as ProtectionFacts).needed.map((entry) => entry.because);
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
      protectionFacts: because("the default route goes through eth0"),
      dma: { weaknesses: ["allow_unsafe_interrupts is on"] },
      kernel: "6.1.0-9-amd64",
    });
    const read = parseRecording(JSON.stringify(captureOf(seen, options)), "host.json");
    expect(read).toEqual({
      ...seen,
      devices: devices.map((device) => ({ ...device, appearance: "recorded", ...placeOnBusZero(device) })),
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
    const facts = because(
      "it carries what is mounted at /",
      "it carries what is mounted at /boot/efi",
      "it carries what is mounted at /srv/customers/acme",
      "it carries what is mounted at /mnt/our secret plans, and on nothing we know",
      "the host's mounts cannot be read: open '/home/jane/tree/proc/1/mountinfo'",
      "at /acme (and /acme/b)",
      "the device 0000:00/1c.0 is in use",
    );
    const seen = picture({ protectionFacts: facts, mountPoints: ["/", "/mnt/our secret plans"] });
    expect(reasonsIn(captureOf(seen, options))).toEqual([
      "it carries what is mounted at /",
      "it carries what is mounted at /boot/efi",
      "it carries what is mounted at /srv/...",
      "it carries what is mounted at /mnt/..., and on nothing we know",
      "the host's mounts cannot be read: open '/home/...'",
      "at /... (and /...)",
      "the device 0000:00/1c.0 is in use",
    ]);
  });

  it("leaves out what tells one disk from another, and udev's paths", () => {
    const uuid = "0d7f3a51-7c31-4d0e-9d1c-3f1a2b3c4d5e";
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
        protectionFacts: because(`part of the mounted btrfs ${uuid}`),
      }),
      options,
    );
    expect(reasonsIn(capture)).toEqual(["part of the mounted btrfs ..."]);
    expect(capture["devices"]).toMatchObject([{ udev: { ID_PATH: "pci", MACHINE: "m" } }]);
    expect(JSON.stringify(capture)).not.toMatch(/enx1|0x5|\/sys\/x/);
  });
});

/** What a recording adds of itself: bus 0 is a root bus. */
function placeOnBusZero({ address }: { readonly address: string }): object {
  return address === "0000:00:1c.0" ? { rootBus: "0000:00", path: "0000:00/1c.0", root: null } : {};
}
