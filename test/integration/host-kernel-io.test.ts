/** Reads and writes through a child: what it promises about hanging files, tried on FIFOs. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { childKernelIo } from "../../src/host/kernel-io.js";
import { loadKernelModule } from "../../src/host/kernel-module.js";
import { aFolder } from "../support/sysfs.js";

const io = childKernelIo();

function fifo(): string {
  const path = join(aFolder(onTestFinished), "fifo");
  execFileSync("mkfifo", [path]);
  return path;
}

/** A process of its own needs JavaScript; what `npm run build` left behind may be of another day. */
function compiled(): string {
  const dir = aFolder(onTestFinished);
  const repository = resolve(import.meta.dirname, "../..");
  writeFileSync(join(dir, "package.json"), '{"type": "module"}');
  const options =
    "--ignoreConfig --module nodenext --target es2023 --strict --types node --rootDir src".split(" ");
  const tsc = join(repository, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [tsc, ...options, "--outDir", dir, "src/host/kernel-io.ts"], {
    cwd: repository,
  });
  return dir;
}

describe("kernel files in a child", () => {
  it("are written in one write, without being truncated", async () => {
    const path = join(aFolder(onTestFinished), "file");
    writeFileSync(path, "0123456789");
    expect(await io.write(path, "ab\n", 5_000)).toEqual({ kind: "done", text: "" });
    expect(readFileSync(path, "latin1")).toBe("ab\n3456789");
  });

  it("keep every byte on the way there and back", async () => {
    const path = join(aFolder(onTestFinished), "file");
    writeFileSync(path, Buffer.from([0xff, 0x00, 0xc3, 0x0a]));
    const read = await io.read(path, 5_000);
    expect(read).toEqual({ kind: "done", text: "\xff\x00\xc3\n" });
    expect(await io.write(path, "\xfe", 5_000)).toMatchObject({ kind: "done" });
    expect([...readFileSync(path)]).toEqual([0xfe, 0x00, 0xc3, 0x0a]);
  });

  it("are never created, and never reached through a link", async () => {
    const dir = aFolder(onTestFinished);
    execFileSync("ln", ["-s", "elsewhere", join(dir, "link")]);
    expect(await io.write(join(dir, "absent"), "x", 5_000)).toMatchObject({ kind: "failed" });
    expect(await io.write(join(dir, "link"), "x", 5_000)).toMatchObject({ kind: "failed" });
    expect(existsSync(join(dir, "absent")) || existsSync(join(dir, "elsewhere"))).toBe(false);
  });

  it("refuse an empty text, which would do nothing and look like success", async () => {
    const path = join(aFolder(onTestFinished), "file");
    writeFileSync(path, "");
    expect(await io.write(path, "", 5_000)).toMatchObject({ kind: "failed", detail: "nothing to write" });
  });

  it("pass on what the kernel says when it refuses", async () => {
    expect(await io.write("/dev/full", "x", 5_000)).toMatchObject({
      kind: "failed",
      detail: expect.stringContaining("/dev/full"),
    });
  });

  it("are given up at the deadline when they hang, the child being left behind", async () => {
    const path = fifo();
    const result = await io.write(path, "x", 100);
    expect(result).toMatchObject({ kind: "stuck", detail: expect.stringContaining(path) });
    expect(await io.read(path, 100)).toMatchObject({ kind: "stuck" });
  });

  it("do not keep the process from ending, not even while one hangs", async () => {
    const program = `
      import { childKernelIo } from ${JSON.stringify(join(compiled(), "host/kernel-io.js"))};
      const result = await childKernelIo().write(${JSON.stringify(fifo())}, "x", 100);
      console.log(result.kind);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    const code = await new Promise((end) => child.once("close", end));
    expect({ code, output }).toEqual({ code: 0, output: "stuck\n" });
  });

  it("change the owner of a node only where that is permitted", async () => {
    expect(await io.chown(join(aFolder(onTestFinished), "absent"), 0, 0)).toMatchObject({ kind: "failed" });
  });

  it("say in one sentence that a module cannot be had", async () => {
    const result = await loadKernelModule("pciplug-no-such-module", 5_000);
    expect(result).toMatchObject({ kind: "failed", detail: expect.stringMatching(/modprobe/) });
  });
});
