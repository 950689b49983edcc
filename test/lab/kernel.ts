/**
 * The Linux kernel that L1 (and the guests in L2) run: Debian's full flavour, unpacked into the cache, with the module
 * index that only an installation would have made. The cloud flavour would lack most drivers.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { progress, run } from "./command.js";
import { Apt, unpack } from "./debian.js";

/** One unpacked kernel. */
export interface Kernel {
  /** As `uname -r` says it. */
  readonly release: string;
  readonly image: string;
  /** The folder that holds `lib/modules/<release>`. */
  readonly root: string;
}

/** Debian signs some kernels: `linux-image-6.1.0-9-amd64` is the signed one, `...-unsigned` its twin. */
const imageName = /^linux-image-\d[^ ]*-amd64$/;

/** Gives the kernel of a suite (or version, or this machine's own sources), fetching it when the cache has none. */
export function provideKernel(wanted: string | undefined, cache: string): Kernel {
  const folder = join(cache, "kernels", wanted ?? "own");
  return found(folder) ?? fetchKernel(wanted, cache, folder);
}

function fetchKernel(wanted: string | undefined, cache: string, folder: string): Kernel {
  const isVersion = wanted !== undefined && /^\d/.test(wanted);
  const apt = wanted === undefined || isVersion ? Apt.ofThisMachine() : Apt.ofSuite(wanted, cache);
  const name = isVersion ? versionName(apt, wanted) : currentName(apt);
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  const deb = download(apt, name, join(part, "debs"));
  progress(`unpacking ${name}`);
  unpack(deb, part);
  rmSync(join(part, "debs"), { recursive: true });
  const kernel = found(part);
  if (kernel === undefined) throw new Error(`package ${name} holds no kernel with modules`);
  run("depmod", ["-b", kernel.root, kernel.release]);
  // A half-made folder never has the final name.
  mkdirSync(join(cache, "kernels"), { recursive: true });
  renameSync(part, folder);
  const moved = found(folder);
  if (moved === undefined) throw new Error(`cannot find the kernel in ${folder}`);
  return moved;
}

/** The package lists of a fresh machine may be empty or too old to be downloaded from: then once again after an update. */
function download(apt: Apt, name: string, folder: string): string {
  try {
    return apt.download(name, folder);
  } catch {
    apt.update();
    return apt.download(name, folder);
  }
}

function currentName(apt: Apt): string {
  const meta = "linux-image-amd64";
  if (apt.candidate(meta) === undefined) apt.update();
  const name = apt.dependency(meta, (dependency) => imageName.test(dependency));
  if (name === undefined) throw new Error(`cannot find the kernel that ${meta} stands for`);
  return name;
}

/** `6.12` names the newest packaged kernel of that series. */
function versionName(apt: Apt, version: string): string {
  const wanted = `linux-image-${version}`;
  const names = apt.names("^linux-image-[0-9].*-amd64$").filter((name) => imageName.test(name));
  const name = names
    .filter((candidate) => candidate.startsWith(wanted) && !/cloud|rt/.test(candidate))
    .sort((a, b) => b.localeCompare(a, "en", { numeric: true }))[0];
  if (name === undefined) {
    throw new Error(
      `no kernel ${version} in this machine's sources (there are: ${names.join(", ") || "none"})`,
    );
  }
  return name;
}

function found(root: string): Kernel | undefined {
  for (const modules of ["lib/modules", "usr/lib/modules"]) {
    const release = existsSync(join(root, modules)) ? readdirSync(join(root, modules))[0] : undefined;
    const image = join(root, "boot", `vmlinuz-${release}`);
    if (release !== undefined && existsSync(image)) {
      return { release, image, root: modules.startsWith("usr") ? join(root, "usr") : root };
    }
  }
  return undefined;
}
