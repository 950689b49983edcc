import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Outcome } from "../../../src/core/step.js";
import { isDeviceGone, isUnplugPending, outcomeOfError, refusalOf } from "../../../src/qemu/refusal.js";
import { QmpCommandError, QmpInterruptedError, QmpTimeoutError } from "../../../src/qmp/errors.js";
import { isObject, loadRecordings } from "../../support/qmp-recordings.js";

const generic = (desc: string) => refusalOf({ qmpClass: "GenericError", desc });

/** Every row of facts.md 1.1, with the text of the recordings (or of the page where none was recorded). */
const ROWS: readonly (readonly [desc: string, reason: string, isWorthRetrying: boolean])[] = [
  ["Bus 'pcie.0' does not support hotplugging", "port-unusable", false],
  ["Bus 'nosuch' not found", "port-unusable", true],
  ["PCI: slot 0 function 0 not available for vfio-pci, in use by vfio-pci,id=h0", "port-occupied", true],
  [
    "PCI: slot 0 function 0 already occupied by e1000e, new func e1000e cannot be exposed to guest.",
    "port-occupied",
    false,
  ],
  ["PCI: 0.0 indicates single function, but 0.1 is already populated.", "bad-arguments", false],
  ["PCI: no slot/function available for virtio-rng-pci, all in use or reserved", "port-occupied", true],
  [
    "Unsupported PCI slot 0 for standard hotplug controller. Valid slots are between 1 and 31.",
    "port-unusable",
    false,
  ],
  ["Duplicate device ID 'h0'", "id-in-use", true],
  ["'nope' is not a valid device model name", "bad-arguments", false],
  ["Property 'e1000e.foo' not found", "bad-arguments", false],
  ["Property 'vfio-pci.host' doesn't take value 'garbage'", "bad-arguments", false],
  ["Parameter 'id' expects an identifier", "bad-arguments", false],
  ["Parameter 'driver' is missing", "bad-arguments", false],
  ["No provided host device", "bad-arguments", false],
  [
    "vfio /sys/bus/pci/devices/0000:ff:1f.7: no such host device: No such file or directory",
    "device-absent",
    false,
  ],
  ["vfio 0000:00:01.0: no iommu_group found: No such file or directory", "no-iommu", false],
  ["vfio 0000:01:00.0: failed to open /dev/vfio/9: No such file or directory", "not-bound", true],
  ["vfio 0000:01:00.0: failed to open /dev/vfio/9: Permission denied", "node-access", true],
  [
    "vfio 0000:01:00.0: failed to setup container for group 9: failed to open /dev/vfio/vfio: Permission denied",
    "node-access",
    true,
  ],
  ["vfio 0000:01:00.0: failed to open /dev/vfio/9: Device or resource busy", "group-busy", true],
  ["vfio 0000:01:00.0: device is already attached", "already-attached", false],
  ["vfio 0000:02:00.0: group 10 is not viable", "group-not-viable", true],
  [
    "vfio 0000:01:00.0: failed to setup container for group 9: memory listener initialization failed: Region pc.ram: vfio_dma_map(0x55e0c91b2c00, 0x0, 0xc0000, 0x7f39fbe00000) = -12 (Cannot allocate memory)",
    "memlock",
    false,
  ],
  ["Hot-unplug failed: guest is busy (power indicator blinking)", "guest-busy", true],
  ["The command 'device_add' is permitted only after machine initialization has completed", "unknown", true],
];

describe("the meaning of a refusal", () => {
  it.each(ROWS)("%s", (desc, reason, isWorthRetrying) => {
    expect(generic(desc)).toEqual({ reason, isWorthRetrying });
  });

  it("is found for every error that a real QEMU ever sent us", () => {
    const strangers: string[] = [];
    let errors = 0;
    for (const { connections } of loadRecordings()) {
      for (const { msg } of connections.flat()) {
        if (isObject(msg) && isObject(msg["error"])) {
          errors += 1;
          const error = { qmpClass: String(msg["error"]["class"]), desc: String(msg["error"]["desc"]) };
          const isDeliberate =
            /machine initialization/.test(error.desc) || error.qmpClass === "CommandNotFound";
          if (refusalOf(error).reason === "unknown" && !isDeliberate) {
            strangers.push(error.desc);
          }
        }
      }
    }
    expect(errors).toBeGreaterThan(100);
    expect(strangers).toEqual([]);
  });

  it("is unknown, and worth another try, for a text nobody has seen", () => {
    expect(generic("the moon is not in the right phase")).toEqual({
      reason: "unknown",
      isWorthRetrying: true,
    });
  });

  it("is total", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (qmpClass, desc) => {
        expect(refusalOf({ qmpClass, desc }).reason).toBeTypeOf("string");
      }),
    );
  });
});

describe("the answers to device_del", () => {
  it("tell a device that is gone from one whose unplug is under way", () => {
    const gone = { qmpClass: "DeviceNotFound", desc: "Device 'd1' not found" };
    const pending = { qmpClass: "GenericError", desc: "Device d1 is already in the process of unplug" };
    expect([isDeviceGone(gone), isUnplugPending(gone)]).toEqual([true, false]);
    expect([isDeviceGone(pending), isUnplugPending(pending)]).toEqual([false, true]);
  });
});

describe("what an error has come to", () => {
  const cases: readonly (readonly [string, Error, Outcome["kind"]])[] = [
    ["a refusal is refused", new QmpCommandError("device_add", "GenericError", "no"), "refused"],
    ["no answer is not known", new QmpTimeoutError("late", { wasSent: true }), "timed-out"],
    ["a command never sent is cancelled", new QmpTimeoutError("late", { wasSent: false }), "cancelled"],
    [
      "a link that died under a command is not known",
      new QmpInterruptedError("qmp.disconnected", "gone", { wasSent: true }),
      "timed-out",
    ],
    [
      "a link that was dead before is cancelled",
      new QmpInterruptedError("qmp.not-running", "gone", { wasSent: false }),
      "cancelled",
    ],
  ];
  it.each(cases)("%s", (_title, error, kind) => {
    expect(outcomeOfError(error).kind).toBe(kind);
  });

  it("hands on what is no answer of a VM", () => {
    const bug = new TypeError("bug");
    expect(() => outcomeOfError(bug)).toThrow(bug);
  });
});
