/** Who may have written the file: real folders, owners and modes. */
import { execFileSync } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ConfigResult, loadConfig } from "../../src/config/load.js";

const text = "vms: []\nrules: []\n";
const stranger = 12_345;
let dir = "";

beforeEach(async () => {
  dir = await mkdtemp(join(await realpath(tmpdir()), "pciplug-config-"));
  await writeFile(join(dir, "config.yaml"), text, { mode: 0o644 });
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function sentenceOf(result: ConfigResult): string {
  return result.ok
    ? "accepted"
    : result.error.map((issue) => `${issue.message} (${issue.hint ?? ""})`).join("; ");
}

describe("the operator's file", () => {
  it("is read where only the user who runs can write, below the sticky /tmp too", async () => {
    const result = await loadConfig(join(dir, "config.yaml"));
    expect(sentenceOf(result)).toBe("accepted");
  });

  it("is refused when others can write to it", async () => {
    const path = join(dir, "config.yaml");
    await chmod(path, 0o664);
    expect(sentenceOf(await loadConfig(path))).toBe(
      `cannot be trusted: ${path} may be written by others (mode 0664), who could change the rules (chmod go-w ${path})`,
    );
  });

  it("is refused when others can write to a folder above it, and the sentence names that folder", async () => {
    const open = join(dir, "open");
    await mkdir(join(open, "closed"), { recursive: true });
    await chmod(open, 0o777);
    await writeFile(join(open, "closed", "config.yaml"), text);
    const sentence = sentenceOf(await loadConfig(join(open, "closed", "config.yaml")));
    expect(sentence).toContain(`the folder ${open} may be written by others (mode 0777)`);
  });

  it("is refused when it belongs to neither root nor the user who runs", async () => {
    const path = join(dir, "config.yaml");
    const isRoot = process.getuid?.() === 0;
    if (isRoot) {
      await chown(path, stranger, stranger);
    }
    const owner = isRoot ? stranger : process.getuid?.();
    // Without root, the same question the other way round: files that are ours, a run by someone else.
    const result = await loadConfig(path, isRoot ? {} : { trustedUid: stranger });
    expect(sentenceOf(result)).toContain(
      `belongs to user ${owner}, who could change the rules: expected root`,
    );
  });

  it("is followed through symbolic links, whose folders count as well", async () => {
    const open = join(dir, "open");
    await mkdir(open);
    await writeFile(join(open, "real.yaml"), text);
    await symlink("open/real.yaml", join(dir, "link.yaml"));
    expect(sentenceOf(await loadConfig(join(dir, "link.yaml")))).toBe("accepted");
    await chmod(open, 0o777);
    expect(sentenceOf(await loadConfig(join(dir, "link.yaml")))).toContain(
      `the folder ${open} may be written`,
    );
  });

  it("is refused when its links lead in a circle", async () => {
    await symlink("b", join(dir, "a"));
    await symlink("a", join(dir, "b"));
    expect(sentenceOf(await loadConfig(join(dir, "a")))).toContain("too many symbolic links");
  });

  it.each([
    ["is not there", "missing.yaml"],
    ["is not there", "missing/config.yaml"],
    ["is not there: something on the way to it is not a folder", "config.yaml/x"],
    ["is a folder: expected a file", "."],
  ])("is said to be wrong in one sentence: %s (%s)", async (sentence, name) => {
    const path = `${dir}/${name}`;
    const result = await loadConfig(path);
    expect(result).toMatchObject({ ok: false, error: [{ path, line: null, message: sentence }] });
  });

  it("is no FIFO, which would stop the agent for ever", async () => {
    execFileSync("sh", ["-c", 'mkfifo -m 600 "$0"', join(dir, "fifo")]);
    expect(sentenceOf(await loadConfig(join(dir, "fifo")))).toContain("is not a plain file");
  });

  it("is UTF-8 text of reasonable size", async () => {
    await writeFile(join(dir, "latin1.yaml"), Buffer.from([0x76, 0x6d, 0x73, 0xff]));
    await writeFile(join(dir, "large.yaml"), Buffer.alloc(2 * 1024 * 1024, "#"));
    expect(sentenceOf(await loadConfig(join(dir, "latin1.yaml")))).toContain("is not UTF-8 text");
    expect(sentenceOf(await loadConfig(join(dir, "large.yaml")))).toContain("is larger than 1048576 bytes");
  });
});
