import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NEXT_MOVES, RESTS } from "../../../src/core/next-move.js";
import type { Outcome } from "../../../src/core/step.js";
import {
  isDeviceGone,
  isUnplugPending,
  outcomeOfError,
  REFUSAL_ROWS,
  type RefusalRow,
  refusalOf,
} from "../../../src/qemu/refusal.js";
import { QmpCommandError, QmpInterruptedError, QmpTimeoutError } from "../../../src/qmp/errors.js";
import { isObject, loadRecordings } from "../../support/qmp-recordings.js";
import { type Proof, REFUSAL_PROOFS } from "../../support/refusal-proofs.js";

const generic = (desc: string) => refusalOf({ qmpClass: "GenericError", desc });

/** Every row of facts.md 1.1, with the text of the recordings (or of the page where none was recorded). */
const TEXTS: Readonly<Record<RefusalRow, string | readonly [qmpClass: string, desc: string]>> = {
  "bus-cannot-hotplug": "Bus 'pcie.0' does not support hotplugging",
  "bus-unknown": "Bus 'nosuch' not found",
  "no-bus-of-its-kind": "No 'PCI' bus found for device 'e1000e'",
  "slot-in-use": "PCI: slot 0 function 0 not available for vfio-pci, in use by vfio-pci,id=h0",
  "function-0-live":
    "PCI: slot 0 function 0 already occupied by e1000e, new func e1000e cannot be exposed to guest.",
  "single-function": "PCI: 0.0 indicates single function, but 0.1 is already populated.",
  "bus-full": "PCI: no slot/function available for virtio-rng-pci, all in use or reserved",
  "slot-invalid": "Unsupported PCI slot 0 for standard hotplug controller. Valid slots are between 1 and 31.",
  "id-in-use": "Duplicate device ID 'h0'",
  "driver-unknown": "'nope' is not a valid device model name",
  "property-unknown": "Property 'e1000e.foo' not found",
  "address-malformed": "Property 'vfio-pci.host' doesn't take value 'garbage'",
  "argument-wrong": "Parameter 'id' expects an identifier",
  "no-host-given": "No provided host device",
  "device-absent": "vfio /sys/bus/pci/devices/0000:ff:1f.7: no such host device: No such file or directory",
  "no-iommu-group": "vfio 0000:00:01.0: no iommu_group found: No such file or directory",
  "not-bound": "vfio 0000:01:00.0: failed to open /dev/vfio/9: No such file or directory",
  "not-probed": "vfio 0000:01:00.0: error getting device from group 9: No such device",
  "node-denied": "vfio 0000:01:00.0: failed to open /dev/vfio/9: Permission denied",
  "container-denied":
    "vfio 0000:01:00.0: failed to setup container for group 9: failed to open /dev/vfio/vfio: Permission denied",
  "group-busy": "vfio 0000:01:00.0: failed to open /dev/vfio/9: Device or resource busy",
  "already-attached": "vfio 0000:01:00.0: device is already attached",
  "group-not-viable": "vfio 0000:02:00.0: group 10 is not viable",
  memlock:
    "vfio 0000:01:00.0: failed to setup container for group 9: memory listener initialization failed: Region pc.ram: vfio_dma_map(0x55e0c91b2c00, 0x0, 0xc0000, 0x7f39fbe00000) = -12 (Cannot allocate memory)",
  migrating: "device_add not allowed while migrating",
  "guest-blinking": "Hot-unplug failed: guest is busy (power indicator blinking)",
  "unplug-pending": "Device d1 is already in the process of unplug",
  "machine-not-made": "The command 'device_add' is permitted only after machine initialization has completed",
  "bus-path-wrong": ["DeviceNotFound", "Device 'machine' not found"],
  "device-unknown": ["DeviceNotFound", "Device 'd1' not found"],
  "not-negotiated": ["CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'"],
};

function errorOf(row: RefusalRow): { readonly qmpClass: string; readonly desc: string } {
  const text = TEXTS[row];
  return typeof text === "string"
    ? { qmpClass: "GenericError", desc: text }
    : { qmpClass: text[0], desc: text[1] };
}

describe("the meaning of a refusal", () => {
  it.each(REFUSAL_ROWS)("is found by its text: %s", (row) => {
    expect(refusalOf(errorOf(row)).row).toBe(row);
  });

  it.each([
    ["Parameter 'driver' is missing", "bad-arguments", "give-up"],
    ["vfio 0000:01:00.0: failed to open /dev/vfio/9: Operation not permitted", "node-access", "grant-node"],
    ["Hot-unplug failed: the guest is busy doing something else", "guest-busy", "wait-a-moment"],
    ["the moon is not in the right phase", "unknown", "look-again"],
  ])("does not hang on every word: %s", (desc, reason, next) => {
    expect(generic(desc)).toMatchObject({ reason, next });
  });

  it("is found for every error that a real QEMU ever sent us", () => {
    const strangers: string[] = [];
    let errors = 0;
    for (const { connections } of loadRecordings()) {
      for (const { msg } of connections.flat()) {
        if (isObject(msg) && isObject(msg["error"])) {
          errors += 1;
          const error = { qmpClass: String(msg["error"]["class"]), desc: String(msg["error"]["desc"]) };
          if (refusalOf(error).row === null && error.qmpClass !== "CommandNotFound") {
            strangers.push(error.desc);
          }
        }
      }
    }
    expect(errors).toBeGreaterThan(100);
    expect(strangers).toEqual([]);
  });

  it("is total", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (qmpClass, desc) => {
        expect(RESTS[refusalOf({ qmpClass, desc }).next]).toBeTypeOf("string");
      }),
    );
  });
});

describe("the page about refusals", () => {
  const page = readFileSync(new URL("../../../contrib/doc/refusals.md", import.meta.url), "utf8");

  it("tells of each refusal what follows from it, and what shows it", () => {
    const [, table = ""] = page.split("|---|---|---|---|\n");
    const rows = REFUSAL_ROWS.map((row) => {
      const { reason, next } = refusalOf(errorOf(row));
      return `| ${row} | ${reason} | ${next} | ${describeProof(REFUSAL_PROOFS[row])} |`;
    });
    expect(table.trim().split("\n")).toEqual(rows);
  });

  it("tells of each move what is done", () => {
    const told = [...page.matchAll(/^\| ([a-z-]+) \| [^|]* \|$/gm)].map((match) => match[1]);
    expect(told.filter((move) => move !== "move").sort()).toEqual(Object.keys(RESTS).sort());
    expect(new Set(Object.values(NEXT_MOVES)).size).toBe(Object.keys(RESTS).length);
  });

  it.each(
    Object.entries<Proof>(REFUSAL_PROOFS).flatMap(([row, proof]) =>
      proof.by === "lab" ? [[row, proof.story]] : [],
    ),
  )("names a story that asserts %s: %s", (row, story) => {
    const text = readFileSync(new URL(`../../lab/stories/${story}.ts`, import.meta.url), "utf8");
    const catalogue = readFileSync(new URL("../../lab/catalogue.ts", import.meta.url), "utf8");
    expect(text).toContain(`"${row}"`);
    expect(catalogue).toContain(`./stories/${story}.js`);
  });
});

function describeProof(proof: Proof): string {
  switch (proof.by) {
    case "qemu":
      return "qemu";
    case "lab":
      return `lab: ${proof.story}`;
    case "nobody":
      return `not provoked: ${proof.why}`;
  }
}

describe("the answers to device_del", () => {
  it("tell a device that is gone from one whose unplug is under way", () => {
    const gone = errorOf("device-unknown");
    const pending = errorOf("unplug-pending");
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
