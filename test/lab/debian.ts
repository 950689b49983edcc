/**
 * Debian's packages as the lab wants them: tools of this machine are installed, kernels and other QEMU versions are
 * downloaded and unpacked into the cache and never installed. A suite that this machine does not know is read through
 * a private apt state, from the mirror that this machine itself uses.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { progress, read, run } from "./command.js";

/** Program -> package that brings it. */
const tools: Readonly<Record<string, string>> = {
  "qemu-system-x86_64": "qemu-system-x86",
  udevadm: "udev",
  modprobe: "kmod",
  depmod: "kmod",
  cpio: "cpio",
  busybox: "busybox-static",
  lspci: "pciutils",
  socat: "socat",
  flock: "util-linux",
  ip: "iproute2",
  mkswap: "util-linux",
  "mkfs.ext4": "e2fsprogs",
  dmsetup: "dmsetup",
};

const toolFolders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/** Installs the Debian packages that the lab needs and this machine lacks; needs root only when one is missing. */
export function installTools(): void {
  const isThere = (tool: string) => toolFolders.some((folder) => existsSync(join(folder, tool)));
  const missing = Object.keys(tools).filter((tool) => !isThere(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => tools[tool] ?? tool))];
  if (process.getuid?.() !== 0) {
    throw new Error(
      `the lab needs ${missing.join(", ")}: run "apt-get install ${packages.join(" ")}" as root`,
    );
  }
  progress(`installing ${packages.join(" ")}`);
  run("apt-get", ["update", "-q"]);
  run("apt-get", ["install", "-y", "-q", "--no-install-recommends", ...packages]);
}

/** One apt state: this machine's own, or a private one for one suite. */
export class Apt {
  readonly #options: readonly string[];
  /** True for a private state: its suite must be named when a package is asked for. */
  readonly suite: string | undefined;

  private constructor(options: readonly string[], suite: string | undefined) {
    // Downloads into a folder of root's own: apt's sandbox user could not write there.
    this.#options = ["-o", "APT::Sandbox::User=root", ...options];
    this.suite = suite;
  }

  /** What this machine's own sources offer. */
  static ofThisMachine(): Apt {
    return new Apt([], undefined);
  }

  /** A private apt state below `cache` that knows one suite, together with the one this machine runs. */
  static ofSuite(suite: string, cache: string): Apt {
    const folder = join(cache, "apt", suite);
    mkdirSync(join(folder, "lists/partial"), { recursive: true });
    mkdirSync(join(folder, "archives/partial"), { recursive: true });
    const status = join(folder, "status");
    writeFileSync(status, "");
    const list = join(folder, "sources.list");
    const { uri, codename } = ownMirror();
    const suites = new Set([suite, ...(suite.startsWith(codename) ? [codename, `${codename}-updates`] : [])]);
    const signedBy = "/usr/share/keyrings/debian-archive-keyring.gpg";
    const lines = [...suites].map((name) => `deb [signed-by=${signedBy}] ${uri} ${name} main`);
    writeFileSync(list, `${lines.join("\n")}\n`);
    const settings = {
      "Dir::Etc::sourcelist": list,
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::Etc::preferences": "/dev/null",
      "Dir::Etc::preferencesparts": "/dev/null",
      "Dir::State::lists": join(folder, "lists"),
      "Dir::State::status": status,
      "Dir::Cache": folder,
      "Dir::Cache::archives": join(folder, "archives"),
      "APT::Default-Release": suite,
    };
    const apt = new Apt(
      Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]),
      suite,
    );
    progress(`reading the package lists of ${suite}`);
    apt.update();
    return apt;
  }

  update(): void {
    run("apt-get", [...this.#options, "update", "-q"]);
  }

  /** The first dependency of a package that `isWanted`; `undefined` when the package or such a one is unknown. */
  dependency(name: string, isWanted: (dependency: string) => boolean): string | undefined {
    const text = read("apt-cache", [...this.#options, "depends", "--important", name]);
    const names = [...text.matchAll(/Depends: (\S+)/g)].map((match) => match[1] ?? "");
    return names.find(isWanted);
  }

  /** Names of all packages that match an extended regular expression. */
  names(pattern: string): string[] {
    return read("apt-cache", [...this.#options, "search", "--names-only", pattern])
      .split("\n")
      .map((line) => line.split(" ")[0] ?? "")
      .filter((name) => name !== "");
  }

  /** The version that would be taken, or `undefined` when there is none. */
  candidate(name: string): string | undefined {
    const version = /Candidate: (\S+)/.exec(read("apt-cache", [...this.#options, "policy", name]))?.[1];
    return version === "(none)" ? undefined : version;
  }

  /** Downloads one package (`name` or `name=version`) into `folder` and gives the file's path. */
  download(name: string, folder: string): string {
    mkdirSync(folder, { recursive: true });
    const before = new Set(readdirSync(folder));
    progress(`downloading ${name}`);
    run("apt-get", [...this.#options, "download", "-q", name], { cwd: folder });
    const file = readdirSync(folder).find((entry) => entry.endsWith(".deb") && !before.has(entry));
    if (file === undefined) throw new Error(`apt-get download ${name} left no file`);
    return join(folder, file);
  }

  /** Downloads a package with all it depends on, from a private state that has nothing installed. */
  downloadClosure(name: string, folder: string): string[] {
    progress(`downloading ${name} and what it depends on`);
    mkdirSync(join(folder, "partial"), { recursive: true });
    const archives = ["-o", `Dir::Cache::archives=${folder}`, "-o", "Debug::NoLocking=1"];
    const options = [...this.#options, ...archives, "install", "--download-only", "-y", "-q"];
    run("apt-get", [...options, "--no-install-recommends", name]);
    return readdirSync(folder)
      .filter((entry) => entry.endsWith(".deb"))
      .map((entry) => join(folder, entry));
  }
}

/** Unpacks a package file below `folder`. */
export function unpack(deb: string, folder: string): void {
  mkdirSync(folder, { recursive: true });
  run("dpkg-deb", ["-x", deb, folder]);
}

/** The mirror from which this machine gets its own release, and that release's name. */
function ownMirror(): { uri: string; codename: string } {
  const codename = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync("/etc/os-release", "utf8"))?.[1];
  if (codename === undefined) throw new Error("the lab needs Debian: /etc/os-release names no release");
  const format = ["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"];
  const rows = read("apt-get", format).split("\n");
  const row = rows
    .map((line) => line.split(" "))
    .find(([, suite, part]) => suite === codename && part === "main");
  if (row?.[0] === undefined)
    throw new Error(`this machine's apt sources name no mirror of ${codename} main`);
  return { uri: row[0], codename };
}
