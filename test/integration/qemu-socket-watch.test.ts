/** A socket that does not exist yet, in folders that do not exist yet, on a real file system. */
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type SocketChange, watchSocket } from "../../src/qemu/socket-watch.js";
import { Heard } from "../support/heard.js";

let base: string;
const servers: Server[] = [];
const watches: Heard<SocketChange>[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "pciplug-watch-"));
});

afterEach(async () => {
  for (const watch of watches.splice(0)) {
    watch.stop();
  }
  for (const server of servers.splice(0)) {
    await close(server);
  }
  rmSync(base, { recursive: true, force: true });
});

function watched(path: string): Heard<SocketChange> {
  const watch = new Heard(watchSocket(path));
  watches.push(watch);
  return watch;
}

async function listen(path: string): Promise<Server> {
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  return server;
}

/** Closing unlinks the socket file. */
async function close(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
  });
}

describe("the watch for a socket", () => {
  it("says that a socket is there already", async () => {
    const path = join(base, "qmp.sock");
    await listen(path);
    expect(await watched(path).until(() => true)).toBe("appeared");
  });

  it("sees it appear in a folder made after the start, three levels down", async () => {
    const folder = join(base, "run", "vms", "a");
    const watch = watched(join(folder, "qmp.sock"));
    // Time for the watch to stand at each level, so that it really has to move down.
    await delay(50);
    mkdirSync(join(base, "run"));
    await delay(50);
    mkdirSync(folder, { recursive: true });
    await listen(join(folder, "qmp.sock"));
    expect(await watch.until(() => true)).toBe("appeared");
  });

  it("sees it again when its folder was deleted and made again, at once or later", async () => {
    const folder = join(base, "vm");
    const path = join(folder, "qmp.sock");
    mkdirSync(folder);
    const watch = watched(path);
    for (const pauseMs of [0, 0, 100]) {
      const from = watch.all.length;
      await listen(path);
      await watch.until((change) => change === "appeared", from);
      rmSync(folder, { recursive: true });
      await watch.until((change) => change === "vanished", from);
      await delay(pauseMs);
      mkdirSync(folder);
    }
    await listen(path);
    await watch.until((change) => change === "appeared", watch.all.lastIndexOf("vanished"));
    expect(watch.all).toEqual([
      "appeared",
      "vanished",
      "appeared",
      "vanished",
      "appeared",
      "vanished",
      "appeared",
    ]);
  });

  it("sees that another socket has taken its place", async () => {
    const path = join(base, "qmp.sock");
    await listen(path);
    const watch = watched(path);
    await watch.until((change) => change === "appeared");
    await listen(join(base, "new.sock"));
    renameSync(join(base, "new.sock"), path);
    expect(await watch.until((change) => change !== "appeared")).toBe("changed");
  });

  it("follows a symbolic link on the way to the folder", async () => {
    mkdirSync(join(base, "run"));
    symlinkSync(join(base, "run"), join(base, "link"));
    const watch = watched(join(base, "link", "vm", "qmp.sock"));
    await delay(50);
    mkdirSync(join(base, "run", "vm"));
    await listen(join(base, "run", "vm", "qmp.sock"));
    expect(await watch.until(() => true)).toBe("appeared");
  });

  it("is not woken by what else lives in the folders", async () => {
    const watch = watched(join(base, "vm", "qmp.sock"));
    mkdirSync(join(base, "vm"));
    mkdirSync(join(base, "other", "deep"), { recursive: true });
    await listen(join(base, "vm", "other.sock"));
    await listen(join(base, "vm", "qmp.sock"));
    await watch.until(() => true);
    await delay(100);
    expect(watch.all).toEqual(["appeared"]);
  });

  it("holds no inotify watch any more after unsubscribing", async () => {
    await expect.poll(openWatches, { timeout: 10_000 }).toBe(0);
    const path = join(base, "vm", "qmp.sock");
    const watch = watched(path);
    await expect.poll(openWatches, { timeout: 10_000 }).toBeGreaterThan(0);
    watch.stop();
    await expect.poll(openWatches, { timeout: 10_000 }).toBe(0);
    mkdirSync(join(base, "vm"));
    await listen(path);
    await delay(100);
    expect(watch.all).toEqual([]);
  });
});

function openWatches(): number {
  return process.getActiveResourcesInfo().filter((name) => name === "FSEventWrap").length;
}
