/** What the agent keeps on disk: ledger, intents, and the folder they are in. */
import { execFileSync, spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { identityOf } from "../../src/core/device.js";
import { type Intents, NO_INTENTS } from "../../src/core/intent.js";
import type { Hold } from "../../src/core/lease.js";
import { openIntents } from "../../src/host/intents.js";
import { openLedger } from "../../src/host/ledger.js";
import { openStateFolder } from "../../src/host/state-folder.js";
import { aDevice, aLease, anAddress } from "../support/builders.js";
import { aFolder } from "../support/sysfs.js";

const lease = aLease(aDevice("0000:01:00.0"), "vm-a");
const old = aLease(aDevice("0000:02:00.0"), "vm-a", { bootId: "boot-0" });
const hold: Hold = {
  address: anAddress("0000:01:00.0"),
  vm: "vm-a",
  appearance: "1",
  process: "4711:100",
  cause: "driver-changed",
  detail: "somebody bound nouveau",
  atMs: 1,
};

function file(name: string): string {
  return join(aFolder(onTestFinished), name);
}

describe("the ledger", () => {
  it("is empty before it was ever written, and then says what was saved", async () => {
    const ledger = openLedger(file("ledger.json"));
    expect(await ledger.load("boot-1")).toEqual({ leases: [], archived: [], damagedAs: null });
    await ledger.save([lease]);
    expect(await ledger.load("boot-1")).toEqual({ leases: [lease], archived: [], damagedAs: null });
  });

  it("is one versioned file that only its owner may read, with nothing left beside it", async () => {
    const path = file("ledger.json");
    await openLedger(path).save([lease]);
    await openLedger(path).save([]);
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ version: 1, leases: [] });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(path, ".."))).toEqual(["ledger.json"]);
  });

  it("is written although a temporary file was left by a crash", async () => {
    const path = file("ledger.json");
    writeFileSync(`${path}.new`, "half a led");
    await openLedger(path).save([lease]);
    expect((await openLedger(path).load("boot-1")).leases).toEqual([lease]);
  });

  it("archives the leases of another boot, once", async () => {
    const path = file("ledger.json");
    await openLedger(path).save([lease, old]);
    expect(await openLedger(path).load("boot-1")).toEqual({
      leases: [lease],
      archived: [old],
      damagedAs: null,
    });
    expect(await openLedger(path).load("boot-1")).toEqual({ leases: [lease], archived: [], damagedAs: null });
    const lines = readFileSync(join(path, "../ledger-archive.jsonl"), "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([old]);
  });

  it.each(["", "{", "[]", '{"version":1}', '{"version":1,"leases":[{}]}', '{"version":"1","leases":[]}'])(
    "keeps a damaged file aside: %s",
    async (text) => {
      const path = file("ledger.json");
      for (const number of [1, 2]) {
        writeFileSync(path, text);
        const { leases, damagedAs } = await openLedger(path).load("boot-1");
        expect({ leases, damagedAs }).toEqual({ leases: [], damagedAs: `${path}.damaged-${number}` });
        expect(readFileSync(damagedAs ?? "", "utf8")).toBe(text);
      }
      expect(existsSync(path)).toBe(false);
    },
  );

  it("of a newer version is refused and left as it is", async () => {
    const path = file("ledger.json");
    const text = '{"version":2,"leases":[]}';
    writeFileSync(path, text);
    await expect(openLedger(path).load("boot-1")).rejects.toMatchObject({ code: "host.state-newer" });
    expect(readFileSync(path, "utf8")).toBe(text);
  });

  it("is not read through a link, nor from a FIFO", async () => {
    const path = file("ledger.json");
    symlinkSync("elsewhere", path);
    await expect(openLedger(path).load("boot-1")).rejects.toMatchObject({ code: "host.state-unsafe" });
    const fifo = file("ledger.json");
    execFileSync("mkfifo", [fifo]);
    await expect(openLedger(fifo).load("boot-1")).rejects.toMatchObject({ code: "host.state-unsafe" });
  });
});

describe("the intents", () => {
  const identity = identityOf(aDevice("0000:65:00.0"));
  const gpu = anAddress("0000:65:00.0");
  const wanted: Intents = {
    pins: [{ rule: "gpus", address: gpu, path: "0000:00/1c.0/00.0", serial: null, identity }],
    reservations: [{ address: gpu, vm: "a", untilMs: 7, detail: "for the demo" }],
    orders: [{ address: gpu, vm: "a", atMs: 1 }],
    quarantines: [{ address: gpu, identity, why: "tenant left", atMs: 2, isCleared: false }],
    ports: [{ vm: "a", address: gpu, serial: null, identity, bus: "rp0", addr: "0" }],
  };

  it("come back as they were saved", async () => {
    const intents = openIntents(file("intents.json"));
    await intents.save([hold], wanted);
    expect(await intents.load()).toEqual({
      holds: [hold],
      intents: wanted,
      isDamaged: false,
      damagedFiles: [],
    });
  });

  it("come back from the file of a release that knew only holds", async () => {
    const path = file("intents.json");
    writeFileSync(path, JSON.stringify({ version: 1, holds: [hold] }));
    expect(await openIntents(path).load()).toMatchObject({
      holds: [hold],
      intents: NO_INTENTS,
      isDamaged: false,
    });
  });

  it.each(["pins", "reservations", "orders", "quarantines"])(
    "are damaged by one bad entry among the %s",
    async (list) => {
      const path = file("intents.json");
      writeFileSync(path, JSON.stringify({ version: 1, holds: [], [list]: [{ address: "nonsense" }] }));
      expect((await openIntents(path).load()).isDamaged).toBe(true);
    },
  );

  it("stay damaged over every start until somebody accepts the loss", async () => {
    const path = file("intents.json");
    writeFileSync(path, "garbage");
    const damaged = { holds: [], intents: NO_INTENTS, isDamaged: true, damagedFiles: [`${path}.damaged-1`] };
    expect(await openIntents(path).load()).toEqual(damaged);
    await openIntents(path).save([], NO_INTENTS);
    expect(await openIntents(path).load()).toEqual(damaged);
    const [kept = ""] = await openIntents(path).acceptLoss();
    expect(readFileSync(kept, "utf8")).toBe("garbage");
    expect(await openIntents(path).load()).toEqual({
      holds: [],
      intents: NO_INTENTS,
      isDamaged: false,
      damagedFiles: [],
    });
  });
});

describe("the state folder", () => {
  it("is made for us alone", async () => {
    const top = aFolder(onTestFinished);
    const folder = await openStateFolder(join(top, "a/state"), top);
    onTestFinished(() => folder.close());
    expect(statSync(folder.path).mode & 0o777).toBe(0o700);
    expect([folder.ledger, folder.intents]).toEqual([
      join(top, "a/state/ledger.json"),
      join(top, "a/state/intents.json"),
    ]);
  });

  it("is refused below a folder that anyone may write, without being left locked", async () => {
    const top = aFolder(onTestFinished);
    chmodSync(top, 0o1777);
    await expect(openStateFolder(join(top, "state"))).rejects.toMatchObject({
      code: "host.state-unsafe",
      message: expect.stringMatching(/^cannot keep state in .*may be written by anyone$/),
    });
    expect(existsSync(join(top, "state/lock"))).toBe(false);
  });

  it("is refused when its group may write to it", async () => {
    const top = aFolder(onTestFinished);
    const { path, close } = await openStateFolder(join(top, "state"), top);
    close();
    chmodSync(path, 0o770);
    await expect(openStateFolder(path, top)).rejects.toMatchObject({ code: "host.state-unsafe" });
  });

  it("belongs to one agent at a time, and says who has it", async () => {
    const top = aFolder(onTestFinished);
    const first = await openStateFolder(join(top, "state"), top);
    await expect(openStateFolder(first.path, top)).rejects.toMatchObject({
      code: "host.state-locked",
      message: `cannot lock ${first.path}: another agent (process ${process.pid}) is using it`,
    });
    first.close();
    const second = await openStateFolder(first.path, top);
    second.close();
    expect(second.path).toBe(first.path);
  });

  it("is free again once the process that had it was killed", async () => {
    const top = aFolder(onTestFinished);
    (await openStateFolder(join(top, "state"), top)).close();
    const lock = join(top, "state/lock");
    const holder = spawn("flock", ["-x", lock, "sh", "-c", "echo held; exec sleep 60"], {
      stdio: ["ignore", "pipe", "ignore"],
      detached: true,
    });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    await expect(openStateFolder(join(top, "state"), top)).rejects.toMatchObject({
      code: "host.state-locked",
    });
    const ended = new Promise((resolve) => holder.once("close", resolve));
    process.kill(-(holder.pid ?? 0), "SIGKILL");
    await ended;
    const again = await openStateFolder(join(top, "state"), top);
    again.close();
    expect(again.path).toBe(join(top, "state"));
  });
});
