/** VMs found by the places of their sockets, on real folders and sockets that come and go. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { FoundVm } from "../../src/core/found-vms.js";
import { discoverVms } from "../../src/qemu/socket-discovery.js";
import { Heard } from "../support/heard.js";

let dir: string;
const servers = new Map<string, Server>();
let heard: Heard<readonly FoundVm[]> | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pciplug-found-"));
});

afterEach(() => {
  heard?.stop();
  for (const server of servers.values()) {
    server.close();
  }
  servers.clear();
  rmSync(dir, { recursive: true, force: true });
});

async function listen(...parts: string[]): Promise<void> {
  const path = join(dir, ...parts);
  mkdirSync(dirname(path), { recursive: true });
  const server = createServer();
  servers.set(path, server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

/** Closes the socket, which removes its file. */
function close(...parts: string[]): void {
  servers.get(join(dir, ...parts))?.close();
  servers.delete(join(dir, ...parts));
}

function search(...patterns: string[]): void {
  heard = new Heard(discoverVms(patterns.map((pattern) => join(dir, pattern))));
}

/** Waits until exactly these are found. */
async function found(...names: string[]): Promise<void> {
  await expect.poll(() => heard?.all.at(-1)?.map(({ name }) => name), { timeout: 10_000 }).toEqual(names);
}

describe("a path with the VM's name in the middle", () => {
  it("finds what is there, and what comes and goes", async () => {
    await listen("vms", "a", "hotplug.sock");
    mkdirSync(join(dir, "vms", "b"));
    search("vms/{vm}/hotplug.sock");
    await found("a");
    expect(heard?.all.at(-1)).toEqual([{ name: "a", pattern: join(dir, "vms/{vm}/hotplug.sock") }]);
    await listen("vms", "b", "hotplug.sock");
    await found("a", "b");
    await listen("vms", "c", "hotplug.sock");
    await found("a", "b", "c");
    close("vms", "a", "hotplug.sock");
    await found("b", "c");
    rmSync(join(dir, "vms", "b"), { recursive: true });
    await found("c");
  });

  it("waits for folders that are not there yet, deleted, and made again", async () => {
    search("deep/er/vms/{vm}/run/qmp.sock");
    await found();
    for (let times = 0; times < 2; times += 1) {
      await listen("deep", "er", "vms", "a", "run", "qmp.sock");
      await found("a");
      rmSync(join(dir, "deep"), { recursive: true });
      await found();
    }
  });

  it("takes no name that no VM can have, no file that is no socket, and no folder", async () => {
    await listen("vms", "-bad", "q.sock");
    await listen("vms", "b ad", "q.sock");
    mkdirSync(join(dir, "vms", "plain"), { recursive: true });
    writeFileSync(join(dir, "vms", "plain", "q.sock"), "");
    mkdirSync(join(dir, "vms", "folder", "q.sock"), { recursive: true });
    await listen("vms", "good", "q.sock");
    search("vms/{vm}/q.sock");
    await found("good");
  });
});

describe("a path whose last part has the VM's name", () => {
  it("finds sockets by what stands around the name, and sees one renamed", async () => {
    await listen("run", "vm-a.sock");
    await listen("run", "vm-b.sock.old");
    await listen("run", "other.sock");
    search("run/vm-{vm}.sock");
    await found("a");
    renameSync(join(dir, "run", "vm-b.sock.old"), join(dir, "run", "vm-b.sock"));
    await found("a", "b");
  });
});

describe("several paths", () => {
  it("are told together, in their order", async () => {
    await listen("x", "b.sock");
    await listen("y", "a.sock");
    search("x/{vm}.sock", "y/{vm}.sock");
    await found("b", "a");
  });

  it("are all found when many VMs start at once", async () => {
    const names = Array.from({ length: 64 }, (_, index) => `vm${String(index).padStart(2, "0")}`);
    search("vms/{vm}/q.sock");
    await Promise.all(names.map((name) => listen("vms", name, "q.sock")));
    await found(...names);
  });

  it("that are none find nothing", async () => {
    search();
    await found();
  });
});
