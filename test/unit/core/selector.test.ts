import { describe, expect, it } from "vitest";
import { formatAddress } from "../../../src/core/address.js";
import { compileSelector, evaluateSelector, type SelectableDevice } from "../../../src/core/selector.js";
import { aDevice, anAddress } from "../../support/builders.js";

const GPU: SelectableDevice = {
  address: formatAddress({ domain: 0, bus: 0x65, device: 0, function: 0 }),
  vendor: "10de",
  device: "1db8",
  class: "030200",
};
const { class: _class, ...CLASSLESS } = GPU;

type Raw = Parameters<typeof compileSelector>[0];

function compile(raw: Raw) {
  const compiled = compileSelector(raw);
  if (!compiled.ok) {
    throw new Error(compiled.error.map(({ path, message }) => `${path.join(".")} ${message}`).join("; "));
  }
  return compiled.value;
}

function verdictOf(raw: Raw, device: SelectableDevice) {
  return evaluateSelector(compile(raw), device).verdict;
}

describe("what is not known", () => {
  const dark = { address: anAddress("0000:65:00.0"), class: "0300" };

  it.each([
    [{ serial: "68-*" }, "serial unreadable", "serial not in this recording"],
    [{ udev: { ID_PATH: "*" } }, "udev has not finished with it", "udev properties not in this recording"],
    [
      { sysfs: { d3cold_allowed: "1" } },
      "sysfs attribute d3cold_allowed unreadable",
      "sysfs attribute d3cold_allowed not in this recording",
    ],
    [{ numaNode: "1" }, "NUMA node not known", "NUMA node not in this recording"],
    [
      { class: "030001" },
      "programming interface of its class not known",
      "programming interface of its class not in this recording",
    ],
    [
      { when: 'udev["ID_PATH"] == "x"' },
      "udev has not finished with it",
      "udev properties not in this recording",
    ],
  ])("%j is put in other words on a recording than on a host", (raw, live, recorded) => {
    const selector = compileSelector(raw);
    const why = (device: SelectableDevice) =>
      selector.ok ? evaluateSelector(selector.value, device).keys[0]?.why : undefined;
    expect([why(dark), why({ ...dark, isRecorded: true })]).toEqual([live, recorded]);
  });
});

describe("a selector", () => {
  it("holds when all of its keys hold", () => {
    expect(verdictOf({ address: "*:65:00.*", vendor: "10de", device: "1db?", class: "3d" }, GPU)).toBe(
      "match",
    );
    expect(verdictOf({ address: "*:65:00.*", vendor: "8086" }, GPU)).toBe("no-match");
  });

  it("takes any value of a key's list", () => {
    expect(verdictOf({ class: ["vga", "3d"] }, GPU)).toBe("match");
    expect(verdictOf({ class: ["vga", "nvme"] }, GPU)).toBe("no-match");
  });

  it("says for each key what was wanted and what was there", () => {
    expect(evaluateSelector(compile({ vendor: ["8086", "1002"], class: "03*" }), GPU)).toEqual({
      verdict: "no-match",
      keys: [
        { key: "vendor", verdict: "no-match", wanted: ["8086", "1002"], actual: "10de" },
        { key: "class", verdict: "match", wanted: ["03*"], actual: "030200" },
      ],
    });
  });

  it("is open on a fact that is not known, even for a lone star", () => {
    expect(verdictOf({ vendor: "10de", class: "3d" }, CLASSLESS)).toBe("unknown");
    expect(verdictOf({ class: "*" }, CLASSLESS)).toBe("unknown");
  });

  it("fails on a known fact whatever else is not known", () => {
    expect(verdictOf({ vendor: "8086", class: "3d" }, CLASSLESS)).toBe("no-match");
  });

  it("matches what is not known by the value unknown only", () => {
    expect(verdictOf({ class: "unknown" }, CLASSLESS)).toBe("match");
    expect(verdictOf({ class: ["nvme", "unknown"] }, CLASSLESS)).toBe("match");
    expect(verdictOf({ class: "unknown" }, GPU)).toBe("no-match");
  });

  it("is open on a class without its interface only where the interface decides", () => {
    const nvme = { ...GPU, class: "0108" };
    expect(verdictOf({ class: "nvme" }, nvme)).toBe("match");
    expect(verdictOf({ class: "010802" }, nvme)).toBe("unknown");
    expect(verdictOf({ class: ["010802", "unknown"] }, nvme)).toBe("match");
    expect(verdictOf({ class: "010601" }, nvme)).toBe("no-match");
  });

  it("does not match a fact that is known to be absent", () => {
    const bare = { ...GPU, vendor: null } as unknown as SelectableDevice;
    expect(verdictOf({ vendor: ["*", "unknown"] }, bare)).toBe("no-match");
  });

  it("lists the addresses it writes out", () => {
    expect(compile({ address: ["0000:65:00.0", "66:00.0", "0000:67:*"] }).exactAddresses).toEqual([
      "0000:65:00.0",
    ]);
    expect(compile({ vendor: "10de" }).exactAddresses).toEqual([]);
  });

  it.each<[Raw, boolean]>([
    [{ address: "*" }, true],
    [{ address: "0000:*", vendor: "*", class: "0*" }, true],
    [{ address: ["01:00.0", "*"] }, true],
    [{ address: "*", class: "nvme" }, false],
    [{ address: "*", class: ["nvme", "*"] }, true],
    [{ address: "*", vendor: "8086" }, false],
    [{ address: "01:*" }, false],
    [{ class: "unknown" }, false],
  ])("%j is wildcards only: %s", (raw, isWildcardOnly) => {
    expect(compile(raw)).toMatchObject({ isWildcardOnly });
  });

  it("carries the remarks of its values with their place", () => {
    expect(compile({ address: ["01:*", "0000:C1:*"], vendor: "86" }).remarks).toEqual([
      { path: ["address", 1], character: 5, message: expect.stringContaining("lower case") },
      { path: ["vendor"], character: 0, message: expect.stringContaining("2 digits"), hint: "write 0086" },
    ]);
  });
});

describe("every key of a selector", () => {
  const card = aDevice("0000:65:00.1", {
    path: "0000:60/01.0/00.1",
    slot: "3",
    label: "NIC 1",
    vendor: "8086",
    device: "10ed",
    subsystemVendor: "1028",
    subsystemDevice: "0001",
    class: "020000",
    revision: "00",
    driver: null,
    numaNode: 0,
    iommuGroup: 0,
    root: anAddress("0000:60:01.0"),
    physfn: anAddress("0000:65:00.0"),
    serial: "00-11-22-ff-ff-33-44-55",
    memory: 16_384,
    udev: { ID_PATH: "pci-0000:65:00.1", EMPTY: "" },
    attributes: { current_link_width: "16", "power/control": "auto", local_cpulist: null },
  });
  /** The same place, of which nothing else was seen. */
  const dark: SelectableDevice = { address: card.address };

  it.each<[Raw, Raw, string | null]>([
    [{ address: "65:00.*" }, { address: "66:*" }, null],
    [{ path: "*/01.0/*" }, { path: "0000:60/02.0/*" }, "its way down from the root bus is not known"],
    [{ slot: "3" }, { slot: "none" }, "physical slot not known"],
    [{ label: "NIC*" }, { label: "none" }, "firmware label not known"],
    [{ vendor: "0x8086" }, { vendor: "10de" }, "vendor id unreadable"],
    [{ device: "10ED" }, { device: "10ee" }, "device id unreadable"],
    [{ subsystemVendor: "1028" }, { subsystemVendor: "103c" }, "subsystem vendor id unreadable"],
    [{ subsystemDevice: "0001" }, { subsystemDevice: "0000" }, "subsystem device id unreadable"],
    [{ class: "ethernet" }, { class: "wifi" }, "class unreadable"],
    [{ revision: "00" }, { revision: "a*" }, "revision unreadable"],
    [{ driver: "none" }, { driver: "*" }, "driver not known"],
    [{ numaNode: "0" }, { numaNode: "1" }, "NUMA node not known"],
    [{ iommuGroup: "0" }, { iommuGroup: "none" }, "IOMMU group not known"],
    [{ root: "0000:60:*" }, { root: "none" }, "root port not known"],
    [{ physfn: "65:00.0" }, { physfn: "65:00.1" }, "not known whether it is a virtual function"],
    [{ isVf: "true" }, { isVf: "false" }, "not known whether it is a virtual function"],
    [{ serial: "00-11-22-FF-*" }, { serial: "none" }, "serial unreadable"],
    [{ bootVga: "false" }, { bootVga: "true" }, "not known whether it is the boot display"],
    [{ memory: "16K" }, { memory: ">16K" }, "size of its memory not known"],
    [
      { udev: { ID_PATH: "pci-*:65:*" } },
      { udev: { ID_PATH: ["usb-*", "none"] } },
      "udev has not finished with it",
    ],
    [{ udev: { ID_NET_NAME: "none" } }, { udev: { ID_NET_NAME: "*" } }, "udev has not finished with it"],
    [
      { sysfs: { current_link_width: "16" } },
      { sysfs: { current_link_width: "8" } },
      "sysfs attribute current_link_width unreadable",
    ],
    [
      { sysfs: { local_cpulist: "none" } },
      { sysfs: { local_cpulist: "*" } },
      "sysfs attribute local_cpulist unreadable",
    ],
    [{ lspci: "-d 8086::02xx" }, { lspci: ["-d 10de:", "-d ::03xx"] }, "vendor id unreadable"],
    [{ not: { driver: "*" } }, { not: [{ isVf: "true" }, { vendor: "10de" }] }, "driver not known"],
    [{ any: [{ vendor: "10de" }, { isVf: "true" }] }, { any: [{ isVf: "false" }] }, "vendor id unreadable"],
    [{ when: "numaNode == 0" }, { when: "numaNode > 0" }, "NUMA node not known"],
  ])("%j matches, %j does not, and nothing known leaves it open", (matching, failing, why) => {
    expect(verdictOf(matching, card)).toBe("match");
    expect(verdictOf(failing, card)).toBe("no-match");
    const open = evaluateSelector(compile(matching), dark);
    expect([open.verdict, open.keys[0]?.why]).toEqual(why === null ? ["match", undefined] : ["unknown", why]);
  });

  it("treats NUMA node -1 as not known, and zero as a value", () => {
    expect(verdictOf({ numaNode: "*" }, { ...card, numaNode: -1 })).toBe("unknown");
    expect(verdictOf({ numaNode: "unknown" }, { ...card, numaNode: -1 })).toBe("match");
    expect(verdictOf({ not: { numaNode: "1" } }, { ...card, numaNode: -1 })).toBe("unknown");
    expect(verdictOf({ numaNode: "unknown" }, card)).toBe("no-match");
  });

  it("knows that only a VGA controller can be the boot display", () => {
    const { bootVga: _, ...unseen } = { ...card, bootVga: true };
    expect(verdictOf({ bootVga: "false" }, { ...unseen, class: "030000" })).toBe("unknown");
    expect(verdictOf({ bootVga: "false" }, { ...unseen, class: "030200" })).toBe("match");
    expect(verdictOf({ bootVga: "true" }, { ...unseen, class: "0300", bootVga: true })).toBe("match");
  });

  it("tells the words none and unknown from texts that read so", () => {
    const odd = { ...card, label: "none", slot: "unknown" };
    expect(verdictOf({ label: "none" }, odd)).toBe("no-match");
    expect(verdictOf({ label: "[n]one" }, odd)).toBe("match");
    expect(verdictOf({ slot: "unknown" }, odd)).toBe("no-match");
    expect(verdictOf({ slot: "[u]nknown" }, odd)).toBe("match");
    expect(verdictOf({ slot: ["none", "unknown"] }, { ...odd, slot: null })).toBe("match");
  });

  it("is explained key by key, inside of not and any too", () => {
    const selector = compile({
      not: [{ class: "nvme", driver: "nvme" }, { serial: "00-*" }],
      any: { udev: { ID_PATH: "x" } },
      memory: ["8G..16G", ">32G"],
    });
    const { serial: _, ...unread } = { ...card, memory: 2 ** 35 };
    expect(evaluateSelector(selector, unread)).toEqual({
      verdict: "no-match",
      keys: [
        {
          key: "not",
          verdict: "unknown",
          wanted: [],
          actual: undefined,
          why: "serial unreadable",
          keys: [
            { key: "not[0].class", verdict: "no-match", wanted: ["nvme"], actual: "020000" },
            { key: "not[0].driver", verdict: "no-match", wanted: ["nvme"], actual: null },
            {
              key: "not[1].serial",
              verdict: "unknown",
              wanted: ["00-*"],
              actual: undefined,
              why: "serial unreadable",
            },
          ],
        },
        {
          key: "any",
          verdict: "no-match",
          wanted: [],
          actual: undefined,
          keys: [{ key: "any.udev.ID_PATH", verdict: "no-match", wanted: ["x"], actual: "pci-0000:65:00.1" }],
        },
        { key: "memory", verdict: "no-match", wanted: ["8G..16G", ">32G"], actual: "32G" },
      ],
    });
  });

  it("gives the reason of the branch that is open, not of one that fails anyway", () => {
    const selector = compile({
      any: [
        { vendor: "10de", serial: "*" },
        { vendor: "8086", slot: "3" },
      ],
    });
    const { serial: _serial, slot: _slot, ...unread } = card;
    expect(evaluateSelector(selector, unread).keys[0]?.why).toBe("physical slot not known");
  });

  it("shows what filters looked at", () => {
    const keys = evaluateSelector(compile({ lspci: "-s 65:", when: 'isVf && driver == ""' }), card).keys;
    expect(keys.map(({ actual }) => actual)).toEqual([
      "0000:65:00.1 8086 10ed 020000",
      "isVf=true driver=none",
    ]);
  });
});

describe("what a selector tells of itself", () => {
  it.each<[Raw, boolean]>([
    [{ vendor: "unknown" }, true],
    [{ driver: "none" }, true],
    [{ driver: ["nvme", "none"] }, true],
    [{ driver: "nvme" }, false],
    [{ slot: "*" }, true],
    [{ slot: "3" }, false],
    [{ label: "GPU*" }, false],
    [{ path: "*/1c.0/*" }, false],
    [{ serial: "00-*" }, false],
    [{ root: "0000:*" }, true],
    [{ root: "0000:60:01.0" }, false],
    [{ physfn: "65:00.0" }, false],
    [{ subsystemVendor: "1458" }, false],
    [{ udev: { ID_PATH: "*" } }, true],
    [{ udev: { ID_PATH: "*", ID_NET_NAME: "en*" } }, false],
    [{ sysfs: { current_link_width: "16" } }, false],
    [{ lspci: "-s .0" }, true],
    [{ lspci: ["-s 65:", "-d ::03xx"] }, false],
    [
      { numaNode: "1", iommuGroup: "17", isVf: "true", bootVga: "false", memory: ">1G", revision: "a1" },
      true,
    ],
    [{ when: 'vendor == "10de"' }, true],
    [{ not: { vendor: "10de" } }, true],
    [{ any: [{ vendor: "10de" }, { class: "vga" }] }, false],
    [{ any: [{ vendor: "10de" }, { numaNode: "1" }] }, true],
    [{ any: [{ vendor: "10de" }, { numaNode: "1" }], class: "vga" }, false],
  ])("%j is wildcards only: %s", (raw, isWildcardOnly) => {
    expect(compile(raw)).toMatchObject({ isWildcardOnly });
  });

  it("is the places that it writes out, but for those that it excludes", () => {
    const selector = compile({
      address: ["0000:65:00.0", "66:00.0"],
      root: "0000:60:01.0",
      any: [{ address: "0000:67:00.0" }, { lspci: "-s 0:68:0.1" }, { path: "0000:60/01.0/00.0" }],
      not: { address: "0000:69:00.0", path: "0000:60/02.0" },
    });
    expect(selector.exactAddresses).toEqual(["0000:65:00.0", "0000:67:00.0", "0000:68:00.1"]);
    expect(selector.exactPaths).toEqual(["0000:60/01.0/00.0"]);
    expect(compile({ path: ["0000:60/*", "0000:60/1C.0"] }).exactPaths).toEqual(["0000:60/1c.0"]);
  });

  it("is what must be read for it, wherever it asks", () => {
    const selector = compile({
      vendor: "10de",
      not: { any: [{ serial: "00-*" }, { sysfs: { b: "1", a: "2" } }] },
      when: "has(udev.X) && has(sysfs.c)",
    });
    expect(selector.wishes).toEqual({ serial: true, udev: true, attributes: ["a", "b", "c"] });
  });

  it("is the facts of which a device must have one", () => {
    const selector = compile({
      address: "0000:65:00.0",
      vendor: ["0x10DE", "8086"],
      device: "22*",
      class: ["vga", "030200"],
      driver: ["nvme", "none"],
      numaNode: "0",
      slot: ["3", "unknown"],
      not: { revision: "a1" },
    });
    expect(selector.fixed).toEqual(
      new Map([
        ["address", new Set(["0000:65:00.0"])],
        ["vendor", new Set(["10de", "8086"])],
        ["class", new Set(["0300", "0302"])],
        ["numaNode", new Set(["0"])],
      ]),
    );
    expect(compile({ address: "65:00.0", class: "03*" }).fixed).toEqual(new Map());
  });
});

describe("a broken selector", () => {
  it("reports every issue with key, item and character", () => {
    const compiled = compileSelector({
      address: ["01:*", "00*"],
      vendor: "1(",
      vendr: "10de",
      class: [],
      device: "*",
    });
    expect(compiled).toMatchObject({
      ok: false,
      error: [
        { path: ["address", 1], character: 0, hint: expect.stringContaining("01:*") },
        { path: ["vendor"], character: 1 },
        { path: ["vendr"], hint: expect.stringMatching(/^keys: address, path, .*not, any, when$/) },
        { path: ["class"], message: expect.stringContaining("no value") },
      ],
    });
  });

  it.each<[unknown, readonly (string | number)[], number | undefined, string]>([
    [{ not: { vendor: "1(" } }, ["not", "vendor"], 1, "parenthesis"],
    [
      { any: [{ vendor: "8086" }, { class: ["vga", "vgaa"] }] },
      ["any", 1, "class", 1],
      0,
      "no name of a class",
    ],
    [{ not: { any: [{ vendr: "x" }] } }, ["not", "any", 0, "vendr"], undefined, "not a key"],
    [{ not: [] }, ["not"], undefined, "no selector"],
    [{ not: {} }, ["not"], undefined, "selects by nothing"],
    [{ any: "vga" }, ["any"], undefined, "expected a selector"],
    [{ any: ["vga"] }, ["any"], undefined, "expected a selector"],
    [{ vendor: 8086 }, ["vendor"], undefined, "expected a text"],
    [{ vendor: ["8086", 8087] }, ["vendor"], undefined, "expected a text"],
    [{ vendor: { a: "b" } }, ["vendor"], undefined, "expected a text"],
    [{ vendor: null }, ["vendor"], undefined, "expected a text"],
    [{ isVf: "yes" }, ["isVf"], 0, "neither true nor false"],
    [{ isVf: "none" }, ["isVf"], 0, "neither true nor false"],
    [{ memory: [">=8G", "8GB"] }, ["memory", 1], 0, "no size"],
    [{ udev: "x" }, ["udev"], undefined, "expected a map"],
    [{ udev: [] }, ["udev"], undefined, "expected a map"],
    [{ udev: {} }, ["udev"], undefined, "names nothing"],
    [{ udev: { "A B": "x" } }, ["udev", "A B"], undefined, "no name of a udev property"],
    [{ udev: { A: ["x", "(y"] } }, ["udev", "A", 1], 0, "parenthesis"],
    [{ sysfs: { a: "x", uevent: "y" } }, ["sysfs", "uevent"], undefined, "not read for rules"],
    [{ lspci: [] }, ["lspci"], undefined, "no value"],
    [{ lspci: "65:00" }, ["lspci"], 0, "not one filter"],
    [{ lspci: "-s 65: -d 10de:" }, ["lspci"], 0, "not one filter"],
    [{ lspci: "-n 65:" }, ["lspci"], 0, "not one filter"],
    [{ lspci: ["-s 65:", "-s  65:20"] }, ["lspci", 1], 7, "no slot"],
    [{ lspci: "-d10de" }, ["lspci"], 2, "no colon"],
    [{ when: ["isVf", "isVf && vendr == ''"] }, ["when", 1], 8, "vendr"],
  ])("%j is refused at %j, character %s", (raw, path, character, message) => {
    const compiled = compileSelector(raw as Raw);
    expect(compiled.ok ? [] : compiled.error).toEqual([
      expect.objectContaining({ path, message: expect.stringContaining(message) }),
    ]);
    expect(compiled.ok ? undefined : compiled.error[0]?.character).toBe(character);
  });

  it.each([
    "uevent",
    "driver_override",
    "config",
    "rom",
    "vpd",
    "resource",
    "resource0_wc",
    "remove",
    "reset",
  ])("may not ask for %s, nor for one of another device", (name) => {
    expect(compileSelector({ sysfs: { [name]: "*" } }).ok).toBe(false);
    expect(compileSelector({ sysfs: { [`physfn/${name}`]: "*" } }).ok).toBe(false);
  });

  it.each(["rescan", "reset_method", "A", "a/b/c", "../x", "a-b", "", "/a", "a/", "a".repeat(65)])(
    "may not ask for %j",
    (name) => {
      expect(compileSelector({ sysfs: { [name]: "*" } }).ok).toBe(false);
    },
  );

  it("reports the issues of every part", () => {
    const compiled = compileSelector({
      not: [{ vendor: "(" }, { isVf: "x" }],
      any: { lspci: ["-s", "-d 1"] },
      sysfs: { config: "x", rom: "y" },
    });
    expect(compiled.ok ? [] : compiled.error.map(({ path }) => path.join("."))).toEqual([
      ...["not.0.vendor", "not.1.isVf", "any.lspci.0", "any.lspci.1", "sysfs.config", "sysfs.rom"],
    ]);
  });

  const nested = (levels: number): Raw => (levels === 1 ? { vendor: "10de" } : { not: nested(levels - 1) });
  const nestedLists = (levels: number): unknown => (levels === 0 ? "x" : [nestedLists(levels - 1)]);

  it("may be nested eight deep and no deeper", () => {
    expect(compileSelector(nested(8)).ok).toBe(true);
    expect(compileSelector(nested(9))).toMatchObject({
      ok: false,
      error: [{ path: Array.from({ length: 8 }, () => "not"), message: "is nested deeper than 8 levels" }],
    });
    expect(compileSelector(nested(5_000))).toMatchObject({ ok: false, error: [{ path: { length: 8 } }] });
    expect(compileSelector({ vendor: nestedLists(5_000) } as Raw)).toMatchObject({ ok: false });
  });

  it("may hold a thousand keys and values and no more", () => {
    const values = (count: number) => Array.from({ length: count }, () => "10de");
    expect(compileSelector({ vendor: values(998) }).ok).toBe(true);
    expect(compileSelector({ vendor: values(999) })).toMatchObject({
      ok: false,
      error: [{ path: ["vendor", 998], message: expect.stringContaining("1000") }],
    });
  });

  it.each(["constructor", "__proto__x", "toString"])("does not take %s for a key", (key) => {
    expect(compileSelector({ [key]: "x" })).toMatchObject({ ok: false, error: [{ path: [key] }] });
  });

  it("is one that selects by nothing", () => {
    expect(compileSelector({})).toMatchObject({
      ok: false,
      error: [{ path: [], message: "selects by nothing" }],
    });
  });
});
