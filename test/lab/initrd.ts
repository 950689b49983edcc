/**
 * Initial ram disks: busybox, an init script, and kernel modules in the order in which they must be loaded.
 * Kept in the cache under a name that holds the digest of all that goes in, so a stale one is never used.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { progress, read, run } from "./command.js";
import type { Kernel } from "./kernel.js";

export interface InitrdPlan {
  readonly name: string;
  readonly kernel: Kernel;
  /** Modules wanted; what they depend on is added. */
  readonly modules: readonly string[];
  /** The init script; it finds the modules' names in `/modules.order`. */
  readonly init: string;
}

/** Builds the ram disk, or gives the one in the cache. */
export function provideInitrd(plan: InitrdPlan, cache: string): string {
  const busybox = ["/bin/busybox", "/usr/bin/busybox"].find((path) => existsSync(path));
  if (busybox === undefined) throw new Error("the lab needs busybox (Debian package busybox-static)");
  const files = moduleFiles(plan);
  const digest = createHash("sha256")
    .update(JSON.stringify([plan.init, files, plan.kernel.release, read("dpkg-query", ["-W", "busybox*"])]))
    .digest("hex")
    .slice(0, 12);
  const path = join(cache, "initrds", `${plan.name}-${plan.kernel.release}-${digest}.gz`);
  if (existsSync(path)) return path;
  progress(`building the ${plan.name} ram disk`);
  mkdirSync(join(cache, "initrds"), { recursive: true });
  const folder = mkdtempSync(join(cache, "initrds", "part-"));
  try {
    fill(folder, plan, files, busybox);
    const archive = run("sh", ["-c", "find . | cpio --quiet -o -H newc"], { cwd: folder });
    writeFileSync(join(folder, "archive"), gzipSync(archive, { level: 1 }));
    renameSync(join(folder, "archive"), path);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return path;
}

function fill(folder: string, plan: InitrdPlan, files: readonly string[], busybox: string): void {
  for (const place of ["bin", "modules", "proc", "sys", "dev", "tmp", "run"]) mkdirSync(join(folder, place));
  copyFileSync(busybox, join(folder, "bin/busybox"));
  for (const file of files) copyFileSync(file, join(folder, "modules", basename(file)));
  writeFileSync(join(folder, "modules.order"), files.map((file) => `${basename(file)}\n`).join(""));
  writeFileSync(join(folder, "init"), plan.init);
  chmodSync(join(folder, "init"), 0o755);
}

/** Paths of the module files in loading order; what is built into the kernel has none. */
function moduleFiles({ kernel, modules }: InitrdPlan): string[] {
  const files = new Set<string>();
  for (const name of modules) {
    const args = ["--show-depends", "-d", kernel.root, "-S", kernel.release, name];
    for (const line of read("modprobe", args).split("\n")) {
      const file = /^insmod (\S+)/.exec(line)?.[1];
      if (file !== undefined) files.add(file);
    }
  }
  return [...files];
}
