import { describe, expect, it } from "vitest";
import { compileExpression } from "../../../src/core/expression.js";
import type { SelectableDevice } from "../../../src/core/selector.js";
import { aDevice, anAddress } from "../../support/builders.js";

const gpu = aDevice("0000:65:00.0", {
  numaNode: 1,
  iommuGroup: 7,
  driver: null,
  root: anAddress("0000:60:01.0"),
  memory: 17_179_869_184,
  serial: "00-11-22-ff-ff-33-44-55",
  path: "0000:60/01.0/00.0",
  slot: null,
  label: "GPU 1",
  udev: { ID_PATH: "pci-0000:65:00.0", EMPTY: "" },
  attributes: { d3cold_allowed: "1", "power/control": "auto", gone: null },
});
/** A device of which nothing but its address was seen. */
const dark: SelectableDevice = { address: anAddress("0000:65:00.0") };

function compile(text: string) {
  const compiled = compileExpression(text);
  if (!compiled.ok) {
    throw new Error(`${compiled.error.index} ${compiled.error.message}`);
  }
  return compiled.value;
}

describe("an expression", () => {
  it.each([
    'vendor == "10de" && device == "2204"',
    'subsystemVendor == "1458" && subsystemDevice == "403b" && revision == "a1"',
    'class.startsWith("03") && class == "030000"',
    'address.endsWith(":00.0") && path.contains("/01.0/")',
    "numaNode == 1 && numaNode in [1, 2]",
    "iommuGroup == 7",
    "memory >= 16 * 1024 * 1024 * 1024",
    "!isVf",
    'root == "0000:60:01.0" && physfn == ""',
    'driver == "" && slot == "" && label.lowerAscii() == "gpu 1"',
    'serial.startsWith("00-11")',
    'udev["ID_PATH"] == "pci-" + address && udev.EMPTY == ""',
    'has(udev.ID_PATH) && !("ID_NET_NAME" in udev)',
    'sysfs["power/control"] == "auto" && int(sysfs.d3cold_allowed) == 1',
    '!("gone" in sysfs)',
    'numaNode == 0 ? driver == "nvme" : size(vendor) == 4',
  ])("%s holds of the device that it describes", (text) => {
    expect(compile(text).verdictOf(gpu)).toBe("match");
  });

  it.each([
    ['vendor == "8086"', "no-match"],
    ['driver == "nvme"', "no-match"],
    ['!(driver == "nvme")', "match"],
    ["bootVga", "unknown"],
    ['class == "030000" || isVf', "match"],
  ])("%s: %s", (text, verdict) => {
    expect(compile(text).verdictOf(gpu)).toBe(verdict);
  });

  it.each([
    ["numaNode == 1", "NUMA node not known"],
    ["numaNode != 1", "NUMA node not known"],
    ["!(numaNode == 1)", "NUMA node not known"],
    ["isVf", "not known whether it is a virtual function"],
    ['udev["ID_PATH"] == "x"', "udev has not finished with it"],
    ['"ID_PATH" in udev', "udev has not finished with it"],
    ["has(udev.ID_PATH)", "udev has not finished with it"],
    ['sysfs["power/control"] == "auto"', "sysfs attribute power/control unreadable"],
    ['"power/control" in sysfs', "sysfs attribute power/control unreadable"],
    ["memory > 0", "size of its memory not known"],
    ['serial == ""', "serial unreadable"],
    ['driver == "x" ? true : true', "driver not known"],
    ['address != "" && isVf', "not known whether it is a virtual function"],
  ])("%s is open where that is not known: %s", (text, why) => {
    expect(compile(text).verdictOf(dark)).toBe("unknown");
    expect(compile(text).whyUnknown(dark)).toBe(why);
  });

  it.each([
    ['numaNode == 1 || address == "0000:65:00.0"', "match"],
    ['address == "0000:65:00.0" || numaNode == 1', "match"],
    ['numaNode == 1 && address == "0000:01:00.0"', "no-match"],
    ['address == "0000:01:00.0" && numaNode == 1', "no-match"],
    ['!(numaNode == 1 && address == "0000:01:00.0")', "match"],
    ['address == "0000:01:00.0" || numaNode == 1', "unknown"],
  ])("%s is decided by the side that is known: %s", (text, verdict) => {
    expect(compile(text).verdictOf(dark)).toBe(verdict);
  });

  it("treats -1 of sysfs as not known, and zero as a number", () => {
    expect(compile("numaNode < 0").verdictOf({ ...gpu, numaNode: -1 })).toBe("unknown");
    expect(compile("numaNode == 0").verdictOf({ ...gpu, numaNode: 0 })).toBe("match");
    expect(compile("iommuGroup == 0").verdictOf({ ...gpu, iommuGroup: 0 })).toBe("match");
    expect(compile("iommuGroup == -1").verdictOf({ ...gpu, iommuGroup: null })).toBe("match");
  });

  it("is open on a class whose programming interface is not known", () => {
    const short = { ...gpu, class: "0300" };
    expect(compile('class == "030000"').verdictOf(short)).toBe("unknown");
    expect(compile('class == "030000"').whyUnknown(short)).toContain("programming interface");
  });

  it.each([
    ['udev["ID_NET_NAME"] == "x"', "No such key: ID_NET_NAME"],
    ['sysfs.gone == "x"', "No such key: gone"],
    ["numaNode / 0 == 1", "division by zero"],
    ["int(vendor) == 1", "cannot convert to int"],
    ["memory * memory > 0", "integer overflow"],
  ])("%s has no answer, and never the answer no", (text, why) => {
    expect(compile(text).verdictOf(gpu)).toBe("unknown");
    expect(compile(text).whyUnknown(gpu)).toContain(why);
  });

  it("wishes for what it reads, wherever that stands", () => {
    const text = '"a" in sysfs || has(sysfs.b) || (isVf ? sysfs["c/d"] : sysfs.e) == ""';
    expect(compile(text).wishes).toEqual({ serial: false, udev: false, attributes: ["a", "b", "c/d", "e"] });
    expect(compile('serial == "" || "X" in udev').wishes).toEqual({
      serial: true,
      udev: true,
      attributes: [],
    });
  });

  it("shows what it looked at", () => {
    const text =
      'numaNode == 1 && driver == "" && udev.X == "" && "gone" in sysfs && sysfs.d3cold_allowed == ""';
    expect(compile(text).showFacts(gpu)).toBe(
      "numaNode=1 driver=none udev.X=none sysfs.gone=none sysfs.d3cold_allowed=1",
    );
    expect(compile(text).showFacts(dark)).toBe(
      "numaNode=? driver=? udev.X=? sysfs.gone=? sysfs.d3cold_allowed=?",
    );
  });
});

describe("a refused expression", () => {
  it.each([
    ["", 0, "Unexpected token"],
    ["vendor ==", 9, "Unexpected token"],
    ['vendor = "10de"', 7, ""],
    ['vendor == "10de', 10, "nterminated"],
    ["vendor", 0, "string, not true or false"],
    ["isVf && vendor == 1", 8, "string == int"],
    ["vendor == 0x10de", 0, "string == int"],
    ['numaNode == "1"', 0, "int == string"],
    ["isVf && numaNode", 0, "bool"],
    ["isVf || vendr", 8, "vendr"],
    ["constructor == 1", 0, "constructor"],
    ["vendor.constructor == 1", 0, "member"],
    ['vendor[0] == "1"', 0, "index"],
    ["isVf && vendor.shout()", 8, "shout()"],
    ["shout(vendor)", 0, "shout()"],
    ["size(udev) == 1", 5, "udev is a map"],
    ["sysfs == sysfs", 0, "sysfs is a map"],
    ["udev[vendor] == 'x'", 0, "written out"],
    ["isVf && vendor in sysfs", 8, "written out"],
    ["sysfs['config'] == ''", 0, "not read for rules"],
    ["has(sysfs.reset_method)", 4, "not read for rules"],
    ["'../../x' in sysfs", 0, "no name"],
    ["isVf && vendor.matches('1.*')", 8, "matches() is not offered"],
    ["[1, 2].exists(n, n == numaNode)", 0, "exists()"],
    ["udev.all(n, true)", 0, "all()"],
    ["[1].map(n, n) == [1]", 0, "map()"],
    ["[1].filter(n, true) == [1]", 0, "filter()"],
    ["cel.bind(x, vendor, x == '')", 0, "bind()"],
    ["dyn(vendor) == 1", 0, "dyn()"],
    ["vendor.split('') == ['']", 0, "split()"],
    ["timestamp(vendor) == timestamp(vendor)", 0, "timestamp()"],
    ["{1: 2} == {1: 2}", 1, "maxMapEntries"],
    ["has(vendor)", 4, "has()"],
    [`${"(".repeat(60)}true${")".repeat(60)}`, 32, "maxDepth"],
    [`${"!".repeat(600)}true`, 100, "maxAstNodes"],
    [`vendor == "${"x".repeat(1000)}"`, 1000, "more than 1000"],
  ])("%s: at character %i, because of %s", (text, index, why) => {
    const compiled = compileExpression(text);
    expect(compiled).toMatchObject({ ok: false, error: { index, message: expect.stringContaining(why) } });
  });

  it("is told which fields and functions there are", () => {
    expect(compileExpression("vendr == ''")).toMatchObject({
      error: { hint: expect.stringContaining("vendor, device") },
    });
    expect(compileExpression("foo(vendor)")).toMatchObject({
      error: { hint: expect.stringContaining("startsWith") },
    });
  });

  it("of any kind takes no time", () => {
    const started = performance.now();
    for (const char of ["(", "[", "-", "!", "a.", "[1,", "true?true:", "true||"]) {
      compileExpression(char.repeat(1000 / char.length));
    }
    expect(performance.now() - started).toBeLessThan(5_000);
  });
});

it("is no slower on what a device may hold", () => {
  const text = "x".repeat(4096);
  const device = { ...gpu, udev: { A: text }, attributes: { a: `${text}y` } };
  const piles = Array.from({ length: 12 }, () => "udev.A.contains(sysfs.a + 'y')").join(" || ");
  const started = performance.now();
  expect(compile(piles).verdictOf(device)).toBe("no-match");
  expect(performance.now() - started).toBeLessThan(5_000);
});
