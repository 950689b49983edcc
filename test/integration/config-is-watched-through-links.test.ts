/** The operator's file on a real file system: every way in which somebody may put another one in its place. */
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { concatMap, map } from "rxjs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.js";
import { watchConfig } from "../../src/config/watch.js";
import { Heard } from "../support/heard.js";

/** Longer than any test: what is seen, was seen by its event. */
const NEVER_MS = 3_600_000;
const QUIET_MS = 300;

let base: string;
const watches: Heard<string>[] = [];

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), "pciplug-config-"));
});

afterEach(() => {
  for (const watch of watches.splice(0)) {
    watch.stop();
  }
  rmSync(base, { recursive: true, force: true });
});

/** A file with one VM of this name. */
function fileWith(vm: string): string {
  return `vms: [{ name: ${vm}, qmp: /run/vm.sock }]\nrules: []\n`;
}

/** What a reader finds after each event: the name of the VM, or the complaint. */
function readAt(path: string, lookMs = NEVER_MS): Heard<string> {
  const watch = new Heard(
    watchConfig(path, { lookMs }).pipe(
      concatMap(() => loadConfig(path)),
      map((loaded) =>
        loaded.ok ? (loaded.value.policy.vms[0]?.name ?? "no VM") : `invalid: ${loaded.error[0]?.message}`,
      ),
    ),
  );
  watches.push(watch);
  return watch;
}

/** Waits until nothing was heard for a while: the watch stands, and what comes then comes by an event. */
async function standing(watch: Heard<string>): Promise<Heard<string>> {
  await watch.until(() => true);
  for (let heard = -1; heard !== watch.all.length; ) {
    heard = watch.all.length;
    await delay(QUIET_MS);
  }
  return watch;
}

/** Waits for a reading. */
async function next(watch: Heard<string>, wanted: string | RegExp): Promise<void> {
  await watch.until((text) => (typeof wanted === "string" ? text === wanted : wanted.test(text)));
}

function folder(...parts: readonly string[]): string {
  const path = join(base, ...parts);
  mkdirSync(path, { recursive: true, mode: 0o755 });
  return path;
}

/** Replaces a link as `ln -sfn` and NixOS do: by renaming a new one over it. */
function swapLink(link: string, target: string): void {
  symlinkSync(target, `${link}.tmp`);
  renameSync(`${link}.tmp`, link);
}

describe("a plain file", () => {
  it("is read again when it is written in place, also with the same size", async () => {
    const path = join(base, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    expect(watch.all.at(-1)).toBe("a");
    writeFileSync(path, fileWith("b"));
    await next(watch, "b");
    writeFileSync(path, fileWith("c"));
    await next(watch, "c");
  });

  it("is read again when an editor renames a new one over it, time after time", async () => {
    const path = join(base, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    for (const name of ["b", "c", "d"]) {
      writeFileSync(`${path}.swp`, fileWith(name));
      renameSync(path, `${path}~`);
      renameSync(`${path}.swp`, path);
      await next(watch, name);
    }
  });

  it("is read half-written, and again when it is whole", async () => {
    const path = join(base, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    writeFileSync(path, fileWith("b").slice(0, 20));
    await next(watch, /^invalid/);
    writeFileSync(path, fileWith("b"));
    await next(watch, "b");
  });

  it("is read although it is never quiet", async () => {
    const path = join(base, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    const restless = setInterval(() => writeFileSync(path, fileWith("b")), 10);
    try {
      await next(watch, "b");
    } finally {
      clearInterval(restless);
    }
  });

  it("is missed while it is away, and read when it is back", async () => {
    const path = join(base, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    unlinkSync(path);
    await next(watch, "invalid: is not there");
    writeFileSync(path, fileWith("b"));
    await next(watch, "b");
  });

  it("is found in folders that are made after the start", async () => {
    const path = join(base, "etc", "pciplug", "config.yaml");
    const watch = await standing(readAt(path));
    expect(watch.all.at(-1)).toBe("invalid: is not there");
    folder("etc");
    await standing(watch);
    folder("etc", "pciplug");
    await standing(watch);
    writeFileSync(path, fileWith("a"));
    await next(watch, "a");
  });

  it("is found in a folder that was deleted and made again", async () => {
    const path = join(folder("etc", "pciplug"), "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    rmSync(join(base, "etc"), { recursive: true });
    folder("etc", "pciplug");
    writeFileSync(path, fileWith("b"));
    await next(watch, "b");
    await standing(watch);
    writeFileSync(path, fileWith("c"));
    await next(watch, "c");
  });

  it("is found in a folder that was swapped for another one by renames", async () => {
    const path = join(folder("etc"), "config.yaml");
    writeFileSync(path, fileWith("a"));
    writeFileSync(join(folder("new"), "config.yaml"), fileWith("b"));
    const watch = await standing(readAt(path));
    renameSync(join(base, "etc"), join(base, "old"));
    renameSync(join(base, "new"), join(base, "etc"));
    await next(watch, "b");
    await standing(watch);
    writeFileSync(path, fileWith("c"));
    await next(watch, "c");
  });

  it("is not read again for what happens beside it", async () => {
    const path = join(base, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path));
    const heard = watch.all.length;
    writeFileSync(join(base, "neighbour.yaml"), "x");
    await standing(watch);
    expect(watch.all.length).toBe(heard);
  });
});

describe("a file behind links", () => {
  /** /etc/pciplug/config.yaml -> /etc/static/pciplug/config.yaml; /etc/static -> a generation in the store. */
  function nixos(): { readonly path: string; readonly generation: (name: string) => string } {
    const generation = (name: string): string => {
      const etc = folder("nix", "store", `${name}-etc`, "etc", "pciplug");
      const file = join(base, "nix", "store", `${name}-config.yaml`);
      writeFileSync(file, fileWith(name));
      symlinkSync(file, join(etc, "config.yaml"));
      return join(base, "nix", "store", `${name}-etc`, "etc");
    };
    const path = join(folder("etc", "pciplug"), "config.yaml");
    symlinkSync(generation("a"), join(base, "etc", "static"));
    symlinkSync(join(base, "etc", "static", "pciplug", "config.yaml"), path);
    return { path, generation };
  }

  it("is read again when NixOS swaps the link in the middle, and the next one", async () => {
    const { path, generation } = nixos();
    const watch = await standing(readAt(path));
    expect(watch.all.at(-1)).toBe("a");
    for (const name of ["b", "c"]) {
      swapLink(join(base, "etc", "static"), generation(name));
      await next(watch, name);
      await standing(watch);
    }
  });

  it("is read again when the first link is swapped, or the last one", async () => {
    const { path, generation } = nixos();
    const watch = await standing(readAt(path));
    swapLink(path, join(generation("b"), "pciplug", "config.yaml"));
    await next(watch, "b");
    await standing(watch);
    writeFileSync(join(base, "nix", "store", "c-config.yaml"), fileWith("c"));
    swapLink(
      join(base, "nix", "store", "b-etc", "etc", "pciplug", "config.yaml"),
      join(base, "nix", "store", "c-config.yaml"),
    );
    await next(watch, "c");
  });

  it("is read again when the target of the links is written", async () => {
    const { path } = nixos();
    const watch = await standing(readAt(path));
    writeFileSync(join(base, "nix", "store", "a-config.yaml"), fileWith("b"));
    await next(watch, "b");
  });

  it("is read again when a ConfigMap's ..data is swapped by a rename", async () => {
    const mount = folder("cfg");
    const version = (name: string): string => {
      writeFileSync(join(folder("cfg", `..${name}`), "config.yaml"), fileWith(name));
      return `..${name}`;
    };
    symlinkSync(version("a"), join(mount, "..data"));
    symlinkSync(join("..data", "config.yaml"), join(mount, "config.yaml"));
    const watch = await standing(readAt(join(mount, "config.yaml")));
    expect(watch.all.at(-1)).toBe("a");
    for (const name of ["b", "c"]) {
      const old = join(mount, `..${readFileVm(join(mount, "config.yaml"))}`);
      swapLink(join(mount, "..data"), version(name));
      rmSync(old, { recursive: true });
      await next(watch, name);
      await standing(watch);
    }
  });

  it("is missed in a circle of links, and found when the circle is broken", async () => {
    const path = join(base, "config.yaml");
    symlinkSync("other.yaml", path);
    symlinkSync("config.yaml", join(base, "other.yaml"));
    const watch = await standing(readAt(path));
    expect(watch.all.at(-1)).toMatch(/^invalid/);
    unlinkSync(join(base, "other.yaml"));
    writeFileSync(join(base, "other.yaml"), fileWith("a"));
    await next(watch, "a");
  });
});

describe("the slow look", () => {
  it("finds what no event tells of: a folder with more entries than are watched", async () => {
    const store = folder("store");
    for (let entry = 0; entry <= 4_096; entry += 1) {
      writeFileSync(join(store, `entry-${entry}`), "");
    }
    const path = join(store, "config.yaml");
    writeFileSync(path, fileWith("a"));
    const watch = await standing(readAt(path, 100));
    writeFileSync(path, fileWith("bb"));
    await next(watch, "bb");
    await standing(watch);
  });
});

function readFileVm(path: string): string {
  return /name: (\w+)/.exec(readFileSync(path, "utf8"))?.[1] ?? "";
}
