/** The operator's socket as a file: who may connect, what it replaces, what it leaves behind. */
import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { getStatus } from "../../src/control/client.js";
import { type ControlServer, serveControl } from "../../src/control/server.js";
import { aControlSource, aStatus } from "../support/control-answers.js";

let dir = "";
let path = "";
const open: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "pciplug-control-"));
  path = join(dir, "control.sock");
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((close) => close()));
  await rm(dir, { recursive: true, force: true });
});

async function serve(at = path, groupId?: number): Promise<ControlServer> {
  const server = await serveControl({
    ...aControlSource,
    path: at,
    ...(groupId === undefined ? {} : { groupId }),
  });
  open.push(() => server.close());
  return server;
}

function listen(at: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  open.push(() => new Promise((resolve) => server.close(resolve)));
  return new Promise((resolve) => server.listen(at, () => resolve(server)));
}

/** What an agent leaves behind that was killed: a socket file that nobody listens on. */
async function leaveStaleSocket(): Promise<void> {
  const server = await listen(join(dir, "other"));
  await link(join(dir, "other"), path);
  await new Promise((resolve) => server.close(resolve));
}

describe("the control socket", () => {
  it("may be used by its owner only, and leaves nothing else behind in its folder", async () => {
    await serve();
    const stats = await stat(path);
    expect([stats.isSocket(), stats.mode & 0o777, stats.uid]).toEqual([true, 0o600, process.getuid?.()]);
    expect(await readdir(dir)).toEqual(["control.sock"]);
    expect(await getStatus(path)).toEqual(aStatus);
  });

  it("may be opened to one group", async () => {
    const gid = process.getgid?.() ?? 0;
    await serve(path, gid);
    const stats = await stat(path);
    expect([stats.mode & 0o777, stats.gid]).toEqual([0o660, gid]);
  });

  it("takes the place of a socket that a dead agent has left", async () => {
    await leaveStaleSocket();
    await expect(getStatus(path)).rejects.toMatchObject({ code: "control.no-agent" });
    await serve();
    expect(await getStatus(path)).toEqual(aStatus);
  });

  it("never takes the place of a living one", async () => {
    await serve();
    await expect(serveControl({ ...aControlSource, path })).rejects.toMatchObject({ code: "control.in-use" });
    expect(await getStatus(path)).toEqual(aStatus);
    expect(await readdir(dir)).toEqual(["control.sock"]);
  });

  it("never takes the place of a file, and never follows a link", async () => {
    await writeFile(path, "precious");
    await expect(serveControl({ ...aControlSource, path })).rejects.toMatchObject({
      code: "control.listen-failed",
    });
    expect(await readFile(path, "utf8")).toBe("precious");
    await rm(path);
    await symlink("elsewhere.sock", path);
    await expect(serveControl({ ...aControlSource, path })).rejects.toMatchObject({
      code: "control.listen-failed",
    });
    expect((await lstat(path)).isSymbolicLink()).toBe(true);
    expect(await readdir(dir)).toEqual(["control.sock"]);
  });

  it("is not made where others could swap it, nor where there is no folder", async () => {
    const shared = join(dir, "shared");
    await mkdir(shared);
    await chmod(shared, 0o777);
    await expect(serveControl({ ...aControlSource, path: join(shared, "s") })).rejects.toMatchObject({
      code: "control.listen-failed",
      message: `cannot listen in ${shared}: it must be a folder of root's that others cannot write to`,
    });
    await expect(serveControl({ ...aControlSource, path: join(dir, "no", "s") })).rejects.toMatchObject({
      code: "control.listen-failed",
    });
  });

  it("is not made under a name that Node would cut", async () => {
    const long = join(dir, "x".repeat(100));
    await expect(serveControl({ ...aControlSource, path: long })).rejects.toMatchObject({
      code: "control.listen-failed",
      message: `cannot listen on ${long}: the path is too long for a socket's address`,
    });
    expect(await readdir(dir)).toEqual([]);
  });

  it("is taken away at the end, but not when another one has taken its place", async () => {
    const first = await serve();
    await first.close();
    expect(await readdir(dir)).toEqual([]);
    const second = await serve();
    await rm(path);
    await listen(path);
    const { ino } = await stat(path);
    await second.close();
    expect((await stat(path)).ino).toBe(ino);
  });

  it("tells those who may not use it", async () => {
    await serve();
    const stranger = 12_345;
    if (process.getuid?.() === 0) {
      await chown(dir, 0, 0);
      process.seteuid?.(stranger);
    } else {
      await chmod(path, 0o000);
    }
    // The connection is tried before the first await: by the stranger.
    const answer = getStatus(path);
    if (process.getuid?.() === 0) {
      process.seteuid?.(0);
    }
    await expect(answer).rejects.toMatchObject({
      code: "control.not-permitted",
      message: `cannot ask the agent at ${path}: only root may ask it`,
    });
  });
});
