import { describe, expect, it } from "vitest";
import { CLASS_NAMES, delicacyOf, describeClass, isBridge } from "../../../src/core/pci-class.js";

describe("a class", () => {
  it.each([
    ["030000", "VGA controller"],
    ["0300", "VGA controller"],
    ["010802", "NVMe controller"],
    ["0480", "multimedia controller"],
    ["ff0000", "unassigned class"],
    ["420000", "class 4200"],
  ])("%s is called %s", (code, words) => {
    expect(describeClass(code)).toBe(words);
  });

  it.each(["060000", "060400", "068000", "0604"])("%s is a bridge", (code) => {
    expect(isBridge(code)).toBe(true);
  });

  it.each(["030000", "160600", "0c0600"])("%s is no bridge", (code) => {
    expect(isBridge(code)).toBe(false);
  });
});

describe("a rule made only of wildcards", () => {
  it.each([
    ["060000", "a bridge"],
    ["010802", "a storage controller"],
    ["018002", "a storage controller"],
    ["0c0330", "a USB host controller"],
    ["0c0700", "the interface of a BMC"],
    ["108000", "an encryption controller, which may carry the TPM"],
    ["080501", "a system peripheral"],
  ])("leaves class %s alone, being %s", (code, reason) => {
    expect(delicacyOf(code)).toBe(reason);
  });

  it("leaves a device alone whose class is not known", () => {
    expect(delicacyOf(undefined)).toBe("a device whose class is not known");
  });

  it.each(["030000", "0302", "020000", "040300", "120000", "0c0600"])("may take class %s", (code) => {
    expect(delicacyOf(code)).toBeUndefined();
  });
});

it("every name stands for four digits or a whole base class", () => {
  for (const codes of Object.values(CLASS_NAMES)) {
    expect(codes.every((code) => /^(?:[0-9a-f]{4}|[0-9a-f]{2}\*)$/.test(code))).toBe(true);
  }
});
