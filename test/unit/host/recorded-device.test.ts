import { describe, expect, it } from "vitest";
import { parseRecordedDevice } from "../../../src/host/recorded-device.js";

const address = "0000:01:00.0";

describe("a recorded device", () => {
  it("needs no more than an address; what is not there is not known", () => {
    expect(parseRecordedDevice({ address })).toEqual({
      ok: true,
      value: { address, appearance: "recorded" },
    });
  });

  it("keeps zero, none and -1 apart from what is not known", () => {
    const facts = { iommuGroup: 0, driver: null, numaNode: -1, parent: null, memory: 0 };
    expect(parseRecordedDevice({ address, ...facts })).toMatchObject({ ok: true, value: facts });
  });

  it("has a class of four digits where the source shows no programming interface", () => {
    expect(parseRecordedDevice({ address, class4: "0300" })).toMatchObject({ value: { class: "0300" } });
    expect(parseRecordedDevice({ address, class: "030000", class4: "0300" })).toMatchObject({
      value: { class: "030000" },
    });
  });

  it("is spelled as the rest of the program spells it", () => {
    const written = { address: "0000:0A:00.0", vendor: "10DE", parent: "0000:00:1C.0" };
    expect(parseRecordedDevice(written)).toMatchObject({
      value: { address: "0000:0a:00.0", vendor: "10de", parent: "0000:00:1c.0" },
    });
  });

  it("takes boot_vga as sysfs writes it", () => {
    const bootVga = ["1", "0", true].map((value) => {
      const parsed = parseRecordedDevice({ address, bootVga: value });
      return parsed.ok && parsed.value.bootVga;
    });
    expect(bootVga).toEqual([true, false, true]);
  });

  it("has the memory and the serial number that its raw attributes say", () => {
    const config = Buffer.alloc(4096);
    config.writeUInt32LE(0x0001_0003, 0x100);
    config.writeBigUInt64LE(0x6805caffff123456n, 0x104);
    const raw = {
      address,
      resource: ["0x00000000f6000000 0x00000000f6ffffff 0x0000000000040200"],
      configHex: config.toString("hex"),
    };
    const facts = { memory: 2 ** 24, serial: "68-05-ca-ff-ff-12-34-56" };
    expect(parseRecordedDevice(raw)).toMatchObject({ value: facts });
    const cut = parseRecordedDevice({ ...raw, configHex: raw.configHex.slice(0, 128) });
    expect(cut.ok && "serial" in cut.value).toBe(false);
  });

  it("keeps a serial number that is known not to be there", () => {
    expect(parseRecordedDevice({ address, serial: null })).toMatchObject({ value: { serial: null } });
  });

  it.each([
    [null, "is not an object"],
    [{}, "has the address undefined, which is not a full PCI address"],
    [{ address: "01:00.0" }, 'has the address "01:00.0", which is not a full PCI address'],
    [{ address, vendor: "0x10de" }, 'has the vendor "0x10de", which is not 4 hex digits'],
    [{ address, vendor: 4318 }, "has the vendor 4318, which is not 4 hex digits"],
    [{ address, class: "03" }, 'has the class "03", which is not six hex digits'],
    [{ address, iommuGroup: "7" }, 'has the iommuGroup "7", which is not a number or null'],
    [{ address, iommuGroup: -1 }, "has the iommuGroup -1, which is not a number or null"],
    [{ address, driver: 0 }, "has the driver 0, which is not a text or null"],
    [{ address, parent: "bridge" }, 'has the parent "bridge", which is not a full PCI address or null'],
    [{ address, vendor: null }, "has the vendor null, which is not 4 hex digits"],
    [{ address, bootVga: 2 }, 'has the bootVga 2, which is not "0" or "1"'],
    [{ address, udev: { A: 1 } }, 'has the udev {"A":1}, which is not an object of texts'],
    [{ address, serial: "abc" }, 'has the serial "abc", which is not eight pairs of hex digits or null'],
  ])("is refused as %j", (value, complaint) => {
    expect(parseRecordedDevice(value)).toEqual({ ok: false, error: complaint });
  });
});
