/** devices, match and capture on recorded hosts: files and trees, without rights, for people and for programs. */
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CliGround, hostCard, readyCard } from "../support/cli-ground.js";
import { runProgram } from "../support/program.js";

const fixtures = resolve(import.meta.dirname, "../../fixtures");
const laptop = join(fixtures, "sysfs/ghw-i7-1270p");
const gpus = join(fixtures, "hosts/hwloc-nvidia-dgx2.json");
const listing = join(fixtures, "hosts/vfio-msi-b450m-mortar.json");
const UNKNOWN = "no agent: VM state unknown\n";
const NO_FACTS = "the recording has no protection facts: nothing but bridges is protected in it\n";

interface Answer {
  readonly schema: string;
  readonly source: Readonly<Record<string, unknown>>;
  readonly devices: readonly Readonly<Record<string, unknown>>[];
  readonly matches: readonly Readonly<Record<string, unknown>>[];
  readonly unknown: readonly Readonly<Record<string, unknown>>[];
}

function answerIn({ stdout }: { readonly stdout: string }): Answer {
  return JSON.parse(stdout) as Answer;
}

let ground: CliGround;

beforeAll(async () => {
  const disk = {
    address: "0000:05:00.0",
    vendor: "144d",
    device: "a808",
    class: "010802",
    driver: "nvme",
    iommuGroup: 15,
    disk: { name: "nvme0n1", mountPoint: "/srv/acme" },
  };
  ground = await CliGround.open({ cards: [hostCard, readyCard, disk] });
});
afterAll(() => ground.close());

describe("devices --host", () => {
  it("shows an unpacked sysfs tree, after saying what it cannot know", async () => {
    const ended = await runProgram(["devices", "--host", laptop]);
    expect([ended.code, ended.stderr]).toEqual([0, UNKNOWN + NO_FACTS]);
    expect(ended.stdout.trimEnd().split("\n")).toHaveLength(24);
    expect(ended.stdout).toMatch(/^0000:00:06\.0 .*PCI bridge .*protected: it is a bridge/m);
  });

  it("leaves out of JSON what a recording does not say, and makes nothing up", async () => {
    const ended = await runProgram(["devices", "--host", listing, "--json"]);
    const { schema, source, devices } = answerIn(ended);
    expect([schema, source]).toEqual(["pciplug-devices/1", { kind: "recording", assumed: [], agent: false }]);
    expect(devices).toHaveLength(33);
    expect(devices.every((device) => !("driver" in device) && !("numaNode" in device))).toBe(true);
  });

  it("assumes IOMMU groups only when told to, one per card, and says so", async () => {
    const plain = await runProgram(["devices", "--host", gpus, "--json"]);
    expect(plain.stderr).toContain("the IOMMU group of 84 devices is not known");
    expect(answerIn(plain).devices.every((device) => !("iommuGroup" in device))).toBe(true);
    const ended = await runProgram(["devices", "--host", gpus, "--json", "--assume-iommu-groups"]);
    const { devices, source } = answerIn(ended);
    expect(ended.stderr).toContain("IOMMU groups are assumed where the recording does not say: one per card");
    expect(source).toEqual({ kind: "recording", assumed: ["iommuGroup"], agent: false });
    const cards = new Map(
      devices.map(({ address, iommuGroup }) => [String(address).slice(0, -2), iommuGroup]),
    );
    expect(
      devices.every(({ address, iommuGroup }) => cards.get(String(address).slice(0, -2)) === iommuGroup),
    ).toBe(true);
    expect(new Set(cards.values()).size).toBe(cards.size);
  });

  it.each([
    [
      "nothing.json",
      /^pciplug: cannot read the recorded host nothing\.json: there is no such file or folder\n$/,
    ],
    [join(fixtures, "hosts/README.md"), /^pciplug: cannot read the recorded host .*: it is not JSON: .*\n$/],
    [join(fixtures, "sysfs"), /it holds several trees; name one of /],
  ])("refuses %s with one sentence and 78", async (path, sentence) => {
    const ended = await runProgram(["devices", "--host", path]);
    expect([ended.code, ended.stdout, ended.stderr]).toEqual([78, "", expect.stringMatching(sentence)]);
  });

  it("refuses to look at two hosts at once", async () => {
    const ended = await runProgram(["devices", "--host", laptop, "--root", ground.root]);
    expect([ended.code, ended.stderr]).toEqual([
      64,
      expect.stringMatching(/'--host <file\|dir>' cannot be used with/),
    ]);
  });
});

describe("devices", () => {
  it("shows what the host needs and because of what", async () => {
    const ended = await runProgram(["devices", "--offline", "--root", ground.root]);
    expect(ended.stdout).toMatch(/^0000:05:00\.0 .* protected: it carries \/srv\/acme through nvme0n1/m);
    const json = answerIn(await runProgram(["devices", "--offline", "--root", ground.root, "--json"]));
    const disk = json.devices.find(({ address }) => address === "0000:05:00.0");
    expect(disk?.["protection"]).toMatchObject({ because: "it carries /srv/acme through nvme0n1" });
    expect(json.devices.find(({ address }) => address === "0000:41:00.0")?.["protection"]).toBeNull();
  });
});

describe("capture", () => {
  it("writes a file on which the other commands say the same as on the host", async () => {
    const captured = await runProgram(["capture", "--root", ground.root]);
    expect([captured.code, captured.stderr]).toEqual([0, ""]);
    expect(captured.stdout).not.toContain("acme");
    expect(captured.stdout).not.toContain(ground.root);
    const file = ground.write(captured.stdout, "host.json");
    const here = await runProgram(["devices", "--offline", "--root", ground.root]);
    const there = await runProgram(["devices", "--host", file]);
    expect(there.stderr).toBe(UNKNOWN);
    // Names come from the pci.ids of this machine, where it has one: they are no part of the recording.
    const columns = (stdout: string) =>
      stdout
        .split("\n")
        .map((line) => line.slice(0, stdout.indexOf("NAME")).trimEnd())
        .map((line) => line.replace("/srv/acme", "/srv/...").split(/ {2,}/));
    expect(columns(there.stdout)).toEqual(columns(here.stdout));
    // A capture of the capture adds and loses nothing.
    const again = await runProgram(["capture", "--host", file]);
    expect(again.stdout).toBe(captured.stdout);
  });

  it("says how many serial numbers it could not read when they were asked for", async () => {
    const ended = await runProgram(["capture", "--serials", "--root", ground.root]);
    expect([ended.code, ended.stderr]).toEqual([
      0,
      "the serial numbers of 3 devices could not be read (root only)\n",
    ]);
  });
});

describe("match", () => {
  const match = (...args: readonly string[]) => runProgram(["match", ...args, "--host", laptop]);
  const addresses = (stdout: string) => stdout.match(/^\S+:\S+/gm) ?? [];

  it("shows what an address pattern selects, bridges marked, and takes several", async () => {
    const ended = await match("00:0[67].0", "04:*");
    expect([ended.code, ended.stderr]).toEqual([0, NO_FACTS]);
    expect(addresses(ended.stdout)).toEqual(["0000:00:06.0", "0000:00:07.0", "0000:04:00.0"]);
    expect(ended.stdout).toMatch(/^0000:00:06\.0 .* protected: it is a bridge/m);
  });

  it("narrows addresses by keys", async () => {
    expect(addresses((await match("00:*", "class=vga")).stdout)).toEqual(["0000:00:02.0"]);
    expect(addresses((await match("class=vga", "vendor=8086")).stdout)).toEqual(["0000:00:02.0"]);
  });

  it("says which of its devices a rule of wildcards only would leave alone", async () => {
    const ended = await match("*");
    expect(ended.stdout).toMatch(
      /^0000:04:00\.0 .* left alone by a rule of wildcards only: a storage controller/m,
    );
  });

  it("says what is not known instead of yes or no", async () => {
    const ended = await runProgram(["match", "class=030002", "--host", listing]);
    expect([ended.code, ended.stderr]).toEqual([3, `${NO_FACTS}no device matches\n`]);
    expect(ended.stdout).toMatch(/unknown: programming interface of its class not in this recording/);
    const json = answerIn(await runProgram(["match", "class=030002", "--host", listing, "--json"]));
    const missing = { key: "class", why: "programming interface of its class not in this recording" };
    expect([json.matches, json.unknown.map(({ unknownKeys }) => unknownKeys)]).toEqual([
      [],
      [[missing], [missing]],
    ]);
  });

  it("knows every key of a selector, those inside keys and those that cost a read of their own too", async () => {
    const ended = await match("not.class=bridge", "lspci=-s 00:02", "serial=68-*");
    expect([ended.code, ended.stdout]).toEqual([
      3,
      expect.stringMatching(/^0000:00:02\.0 .* unknown: serial not in this recording/m),
    ]);
    expect((await match("path=0000:00/02.0", "root=none")).code).toBe(0);
  });

  it("tries a pattern that can match nothing, and says what may have been meant", async () => {
    const ended = await match("10de:1b06", "--json");
    expect([ended.code, ended.stderr]).toEqual([
      3,
      expect.stringMatching(/^remark: 10de:1b06: .*vendor:device\n.*\n.*\n {2}write vendor=10de device=1b06/),
    ]);
    expect(JSON.parse(ended.stdout)).toMatchObject({
      remarks: [{ argument: "10de:1b06", message: expect.stringContaining("vendor:device"), character: 0 }],
    });
  });

  it("answers programs in a shape of its own", async () => {
    const json = answerIn(await match("class=vga", "--json"));
    expect(json).toMatchObject({
      schema: "pciplug-match/1",
      source: { kind: "recording", assumed: [] },
      patterns: ["class=vga"],
      matches: [{ address: "0000:00:02.0", class: "030000", protection: null, leftAlone: null }],
      unknown: [],
    });
  });

  it("ends with 3 where nothing matches", async () => {
    const ended = await match("fe:*");
    expect([ended.code, ended.stdout, ended.stderr]).toEqual([3, "", `${NO_FACTS}no device matches\n`]);
  });

  it("refuses a pattern with 64, a caret below its character, and what to write instead", async () => {
    const ended = await match("class=vga", "address=01:(00|01).0");
    expect([ended.code, ended.stdout]).toEqual([64, ""]);
    const [sentence, pattern, caret, hint] = ended.stderr.split("\n");
    expect(sentence).toBe(
      'pciplug: cannot match address=01:(00|01).0: has a parenthesis "(", which patterns do not know',
    );
    expect([pattern?.[caret?.indexOf("^") ?? 0], hint]).toEqual(["(", expect.stringContaining("{a,b}")]);
  });

  it("refuses an address without a colon and an unknown key", async () => {
    expect((await match("65")).stderr).toMatch(/^pciplug: cannot match 65: has no colon.*\n {2}65\n {2}\^\n/);
    const ended = await match("colour=red");
    expect([ended.code, ended.stderr]).toEqual([
      64,
      expect.stringMatching(/cannot match colour=red: is not a key/),
    ]);
  });
});
