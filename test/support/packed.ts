/** The package as npm packs it, unpacked where nothing else is: what a stranger gets who installs it. */
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const repository = join(import.meta.dirname, "../..");

/** A folder with `node_modules/pciplug` and nothing more. */
export class PackedPackage implements Disposable {
  readonly app: string;
  /** The files of the tarball, relative to the package. */
  readonly files: readonly string[];
  readonly #folder = mkdtempSync(join(tmpdir(), "pciplug-packed-"));

  /** Compiles anew, so it never shows yesterday's dist. */
  constructor() {
    const stage = join(this.#folder, "stage");
    for (const name of ["package.json", "README.md", "CHANGELOG.md", "LICENSE", "contrib"]) {
      cpSync(join(repository, name), join(stage, name), { recursive: true });
    }
    execFileSync(join(repository, "node_modules/.bin/tsc"), [
      "-p",
      repository,
      "--outDir",
      join(stage, "dist"),
    ]);
    const pack = ["pack", "--json", "--offline", "--ignore-scripts", "--pack-destination", this.#folder];
    const [packed] = JSON.parse(execFileSync("npm", pack, { cwd: stage, encoding: "utf8" })) as [
      { filename: string; files: { path: string }[] },
    ];
    this.files = packed.files.map((file) => file.path);
    this.app = join(this.#folder, "app");
    const home = join(this.app, "node_modules/pciplug");
    mkdirSync(home, { recursive: true });
    execFileSync("tar", ["-xzf", join(this.#folder, packed.filename), "-C", home, "--strip-components=1"]);
  }

  write(name: string, text: string): string {
    const path = join(this.app, name);
    writeFileSync(path, text);
    return path;
  }

  /** Puts one of our own packages beside it, unless it is there already. */
  link(name: string): void {
    const path = join(this.app, "node_modules", name);
    if (existsSync(path)) {
      return;
    }
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(join(repository, "node_modules", name), path);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}

/** The example of the README's section on `pciplug/qmp`. */
export function readmeExample(): string {
  const readme = readFileSync(join(repository, "README.md"), "utf8");
  const section = readme.slice(readme.indexOf("## `pciplug/qmp`"));
  return /```js\n(.*?)```/s.exec(section)?.[1] ?? "";
}
