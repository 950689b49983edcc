/**
 * The QEMU under test: the installed one, or one of another suite or version, unpacked into the cache with everything
 * it needs down to the C library, so that it runs beside the installed one without touching it.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { progress, read } from "./command.js";
import { Apt, unpack } from "./debian.js";

/** How to start one QEMU. */
export interface QemuBuild {
  /** Put before QEMU's own arguments. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly version: string;
  /** Folder of its loadable modules, where it is not the one that is installed. */
  readonly modules?: string;
}

/** Where the installed QEMU has its modules, and where any QEMU looks after the place it is told of. */
export const installedModules = "/usr/lib/x86_64-linux-gnu/qemu";

const program = "qemu-system-x86_64";

/** Gives a QEMU: the installed one, or that of a suite or version. */
export function provideQemu(wanted: string | undefined, cache: string): QemuBuild {
  if (wanted === undefined) return withVersion([program], {});
  const folder = join(cache, "qemu", wanted.replaceAll(/[^A-Za-z0-9.+~-]/g, "_"));
  if (!existsSync(folder)) fetchQemu(wanted, cache, folder);
  return unpackedBuild(folder);
}

function fetchQemu(wanted: string, cache: string, folder: string): void {
  const isVersion = /^\d/.test(wanted);
  const apt = Apt.ofSuite(isVersion ? ownSuite() : wanted, cache);
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  const debs = apt.downloadClosure(
    isVersion ? `qemu-system-x86=${wanted}` : "qemu-system-x86",
    join(part, "debs"),
  );
  progress(`unpacking ${debs.length} packages`);
  for (const deb of debs) unpack(deb, part);
  rmSync(join(part, "debs"), { recursive: true });
  mkdirSync(join(cache, "qemu"), { recursive: true });
  renameSync(part, folder);
}

function ownSuite(): string {
  return read("sh", ["-c", ". /etc/os-release && echo $VERSION_CODENAME"]);
}

/**
 * A program of another release needs that release's dynamic loader. The loader is copied under QEMU's own name, so
 * that /proc/PID/exe and /proc/PID/comm, by which people and agents know a QEMU, look as they do on a normal host.
 */
function unpackedBuild(folder: string): QemuBuild {
  const loader = join(folder, "loader", program);
  if (!existsSync(loader)) {
    mkdirSync(join(folder, "loader"), { recursive: true });
    const own = ["lib64", "usr/lib64", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]
      .map((place) => join(folder, place, "ld-linux-x86-64.so.2"))
      .find((path) => existsSync(path));
    if (own === undefined) throw new Error(`no dynamic loader in ${folder}`);
    copyFileSync(own, loader);
  }
  const libraries = [...libraryFolders(folder)].join(":");
  const share = join(folder, "usr/share");
  const command = [loader, "--library-path", libraries, join(folder, "usr/bin", program)];
  const data = ["qemu", "seabios"].flatMap((name) => ["-L", join(share, name)]);
  const modules = join(folder, installedModules);
  return { ...withVersion([...command, ...data], { QEMU_MODULE_DIR: modules }), modules };
}

function* libraryFolders(folder: string): Generator<string> {
  for (const place of ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"]) {
    const path = join(folder, place);
    if (!existsSync(path)) continue;
    yield path;
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (entry.isDirectory() && /^(pulseaudio|ceph|blas|lapack)$/.test(entry.name))
        yield join(path, entry.name);
    }
  }
}

function withVersion(command: readonly string[], env: Readonly<Record<string, string>>): QemuBuild {
  const [first = program, ...rest] = command;
  const text = read(first, [...rest, "--version"]);
  return { command, env, version: /version (\S+)/.exec(text)?.[1] ?? text };
}
