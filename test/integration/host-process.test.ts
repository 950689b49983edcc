/** Who is behind a socket, and who has an IOMMU group open: on a made-up /proc and on the real one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, symlinkSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { findSocketOwner, findVfioHolders, isListening, isRunning } from "../../src/host/process.js";
import { hostRoot } from "../../src/host/root.js";
import { uidOf } from "../../src/host/users.js";
import { aFolder, aSysfs, type Sysfs } from "../support/sysfs.js";

const header = "Num       RefCount Protocol Flags    Type St Inode Path\n";
const listening = (inode: number, path: string): string =>
  `0000000000000000: 00000002 00000000 00010000 0001 01 ${inode} ${path}\n`;
const connected = (inode: number, path: string): string =>
  `0000000000000000: 00000003 00000000 00000000 0001 03 ${inode} ${path}\n`;

const status = (capabilities: string): string =>
  `Name:\tqemu\nUid:\t0\t64055\t0\t64055\nGid:\t0\t994\t0\t994\nCapEff:\t${capabilities}\n`;
const stat = "4242 (qemu) (a b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n";
const limits = (memlock: string): string =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax locked memory         ${memlock}             unlimited            bytes     \n`;

function proc(sockets: string): Sysfs {
  return aSysfs(aFolder(onTestFinished)).file("proc/net/unix", header + sockets);
}

function process(
  sysfs: Sysfs,
  pid: number,
  link: string,
  capabilities = "0000000000000000",
  memlock = "8388608",
): Sysfs {
  return sysfs
    .file(`proc/${pid}/status`, status(capabilities))
    .file(`proc/${pid}/stat`, stat)
    .file(`proc/${pid}/limits`, limits(memlock))
    .rawLink(`proc/${pid}/fd/9`, link)
    .rawLink(`proc/${pid}/cwd`, "/run/vms");
}

describe("the process behind a socket", () => {
  it("is found by the socket's inode, with what decides over its access and memory", async () => {
    const tree = process(
      proc(connected(1, "/run/a.sock") + listening(77, "/run/a.sock")),
      4242,
      "socket:[77]",
    );
    process(tree, 99, "socket:[78]");
    expect(await findSocketOwner(tree.root, "/run/a.sock")).toEqual({
      pid: 4242,
      startTicks: "987654",
      uid: 64055,
      gid: 994,
      memlockBytes: 8_388_608,
      canLockAnyMemory: false,
      executable: null,
      cgroup: null,
    });
  });

  it("is told with its program and its cgroup, also when the program was replaced meanwhile", async () => {
    const tree = process(proc(listening(77, "/run/a.sock")), 4242, "socket:[77]")
      .rawLink("proc/4242/exe", "/usr/bin/qemu-system-x86_64 (deleted)")
      .file("proc/4242/cgroup", "1:name=systemd:/x\n0::/system.slice/microvm@a.service\n");
    expect(await findSocketOwner(tree.root, "/run/a.sock")).toMatchObject({
      executable: "/usr/bin/qemu-system-x86_64",
      cgroup: "/system.slice/microvm@a.service",
    });
  });

  it("may lock any memory with CAP_IPC_LOCK, and has no limit when the kernel says unlimited", async () => {
    const tree = process(
      proc(listening(77, "/run/a.sock")),
      4242,
      "socket:[77]",
      "000001ffffffffff",
      "unlimited",
    );
    expect(await findSocketOwner(tree.root, "/run/a.sock")).toMatchObject({
      memlockBytes: null,
      canLockAnyMemory: true,
    });
  });

  it("is found by a path with blanks, and by one that was given to QEMU relative to its folder", async () => {
    const tree = process(proc(listening(77, "a b.sock")), 4242, "socket:[77]");
    expect(await findSocketOwner(tree.root, "/run/vms/a b.sock")).toMatchObject({ pid: 4242 });
    expect(await findSocketOwner(tree.root, "/run/other/a b.sock")).toBeNull();
  });

  it("is not told when two processes could be meant; PID 1 does not count", async () => {
    const tree = process(
      proc(listening(77, "/run/a.sock") + listening(78, "/run/a.sock")),
      4242,
      "socket:[77]",
    );
    process(tree, 1, "socket:[77]");
    expect(await findSocketOwner(tree.root, "/run/a.sock")).toMatchObject({ pid: 4242 });
    process(tree, 4243, "socket:[78]");
    expect(await findSocketOwner(tree.root, "/run/a.sock")).toBeNull();
  });

  it("is nobody when nothing listens or /proc cannot be read", async () => {
    expect(await findSocketOwner(proc(connected(1, "/run/a.sock")).root, "/run/a.sock")).toBeNull();
    expect(await findSocketOwner(hostRoot("/nonexistent"), "/run/a.sock")).toBeNull();
  });

  it("is this very process for a socket that it listens on", async () => {
    const path = join(aFolder(onTestFinished), "a.sock");
    await listeningAt(path);
    const owner = await findSocketOwner(hostRoot(), path);
    expect(owner).toMatchObject({ pid: globalThis.process.pid, uid: globalThis.process.getuid?.() });
    expect(Number(owner?.startTicks)).toBeGreaterThan(0);
  });

  it("is found through a link to the socket's folder", async () => {
    const folder = aFolder(onTestFinished);
    mkdirSync(join(folder, "real"));
    symlinkSync("real", join(folder, "link"));
    await listeningAt(join(folder, "real", "a.sock"));
    const owner = await findSocketOwner(hostRoot(), join(folder, "link", "a.sock"));
    expect(owner?.pid).toBe(globalThis.process.pid);
  });

  it("is not one that has a socket at the same path in a mount namespace of its own", async () => {
    const folder = aFolder(onTestFinished);
    const path = join(folder, "a.sock");
    const impostor = spawn("unshare", [
      ...(globalThis.process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]),
      ...["--mount", "sh", "-c", 'mount -t tmpfs none "$1" && exec "$2" -e "$3" "$1/a.sock"', "sh"],
      ...[folder, globalThis.process.execPath],
      'require("net").createServer().listen(process.argv[1], () => console.log("listening"))',
    ]);
    onTestFinished(() => void impostor.kill("SIGKILL"));
    const [said] = await once(impostor.stdout, "data");
    expect(String(said)).toBe("listening\n");
    expect(await findSocketOwner(hostRoot(), path)).toBeNull();
    await listeningAt(path);
    expect((await findSocketOwner(hostRoot(), path))?.pid).toBe(globalThis.process.pid);
  });
});

async function listeningAt(path: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
}

describe("a process that was found", () => {
  it("runs until its place is taken by another one with the same id", async () => {
    const tree = process(proc(listening(77, "/run/a.sock")), 4242, "socket:[77]");
    const found = await findSocketOwner(tree.root, "/run/a.sock");
    if (found === null) {
      throw new Error("not found");
    }
    expect(isRunning(tree.root, found)).toBe(true);
    tree.file("proc/4242/stat", stat.replace("987654", "987655"));
    expect(isRunning(tree.root, found)).toBe(false);
    expect(isRunning(hostRoot("/nonexistent"), found)).toBe(false);
  });

  it("listens where it did, and nowhere else", async () => {
    const tree = process(
      proc(listening(77, "/run/a.sock") + listening(78, "/run/b.sock")),
      4242,
      "socket:[77]",
    );
    const found = await findSocketOwner(tree.root, "/run/a.sock");
    if (found === null) {
      throw new Error("not found");
    }
    expect(isListening(tree.root, found, "/run/a.sock")).toBe(true);
    expect(isListening(tree.root, found, "/run/b.sock")).toBe(false);
    expect(isListening(tree.root, { ...found, startTicks: "1" }, "/run/a.sock")).toBe(false);
  });
});

describe("a user of the host", () => {
  it("is found by name in its passwd file, or is a number already", () => {
    const { root } = aSysfs(aFolder(onTestFinished)).file(
      "etc/passwd",
      "root:x:0:0:root:/root:/bin/sh\nmicrovm:x:994:993::/var/empty:/bin/false\nbroken:x::1\n",
    );
    expect([uidOf(root, "microvm"), uidOf(root, "root"), uidOf(root, "1000")]).toEqual([994, 0, 1000]);
    expect([uidOf(root, "micro"), uidOf(root, "broken"), uidOf(root, "x")]).toEqual([null, null, null]);
    expect(uidOf(hostRoot("/nonexistent"), "root")).toBeNull();
  });
});

describe("the holders of an IOMMU group", () => {
  it("are the processes with its node open", async () => {
    const tree = process(proc(""), 4242, "/dev/vfio/7");
    process(tree, 99, "/dev/vfio/7");
    process(tree, 100, "/dev/vfio/71");
    process(tree, 101, "/dev/vfio/vfio");
    expect(await findVfioHolders(tree.root, 7)).toEqual([99, 4242]);
    expect(await findVfioHolders(tree.root, 8)).toEqual([]);
  });
});
