/** The house rules of the design, as a program: who may import whom, and how large a room's files may be. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const src = resolve(import.meta.dirname, "../src");

interface Rule {
  /** Rooms, or single files of a room (`host/root`). */
  readonly rooms: readonly string[];
  readonly node: readonly string[];
  /** npm package -> the files (without .ts) that may import it; `*` = all. */
  readonly npm: Readonly<Record<string, readonly string[]>>;
}

const house: Readonly<Record<string, Rule>> = {
  base: { rooms: [], node: [], npm: {} },
  core: {
    rooms: ["base"],
    node: [],
    npm: { picomatch: ["core/pattern"], "@marcbachmann/cel-js": ["core/expression"] },
  },
  qmp: {
    rooms: ["base"],
    node: ["net", "events", "timers", "timers/promises", "fs"],
    npm: { rxjs: ["qmp/observable"] },
  },
  host: {
    rooms: ["base", "core"],
    node: ["fs", "fs/promises", "path", "child_process", "timers", "timers/promises", "os", "readline"],
    npm: { chokidar: ["host/watch-"], rxjs: ["host/watch", "host/watch-"] },
  },
  qemu: {
    rooms: ["base", "core", "qmp"],
    node: ["timers", "timers/promises", "fs", "fs/promises", "path"],
    npm: {
      rxjs: ["qemu/link", "qemu/socket-watch", "qemu/socket-discovery"],
      chokidar: ["qemu/socket-watch", "qemu/socket-discovery"],
    },
  },
  config: {
    rooms: ["base", "core"],
    node: ["fs", "fs/promises", "path", "crypto"],
    npm: { yaml: ["*"], zod: ["*"], chokidar: ["config/watch"], rxjs: ["config/watch"] },
  },
  control: {
    rooms: ["base", "core"],
    node: ["http", "https", "net", "tls", "fs", "fs/promises"],
    npm: { hono: ["*"], "@hono/node-server": ["*"], zod: ["*"] },
  },
  audit: {
    rooms: ["base", "core"],
    node: ["fs", "fs/promises", "path", "crypto", "zlib"],
    npm: { winston: ["*"], "winston-transport": ["*"] },
  },
  agent: {
    rooms: ["base", "core", "qmp", "host", "qemu", "config", "control", "audit"],
    node: ["process", "timers", "timers/promises", "path", "perf_hooks"],
    npm: { rxjs: ["*"] },
  },
  cli: {
    rooms: [
      "base",
      "core",
      "config/load",
      "host/root",
      "host/scan",
      "host/recording",
      "host/capture",
      "host/error",
      "host/intents",
      "host/pci-names",
      "host/protection-facts",
      "host/dma-facts",
      "control/client",
      "control/schema",
      "audit/read",
      "audit/verify",
    ],
    node: ["util", "process", "fs", "fs/promises", "path"],
    npm: { commander: ["*"] },
  },
  sim: {
    rooms: ["base", "core", "qmp", "host/root", "host/kernel-io"],
    node: ["fs", "fs/promises", "net", "os", "path", "child_process", "timers", "timers/promises"],
    npm: {},
  },
};

/** Files of one room that may reach further than their room, each for the reason beside it. */
const exceptions: Readonly<Record<string, readonly string[]>> = {
  "agent/demo": ["sim"],
  "agent/demo-scene": ["sim"],
  "agent/rehearse": ["sim"],
  "agent/rehearse-cards": ["sim"],
  "agent/rehearse-stage": ["sim"],
};
/** Only these may load the loop, and only by `import()`, so that the one-shot commands stay light. */
const loopDoor = "agent/entry";
/** The package's two public faces: the only re-exports. */
const faces = new Set(["index", "qmp/index"]);
/** Where the clock, chance, the environment and the console may be read. */
const edges = new Set(["agent/main", "cli/main", "audit/log"]);

interface Import {
  readonly specifier: string;
  readonly isDynamic: boolean;
}

function importsOf(text: string): Import[] {
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\b[^;"'`]*?\bfrom\s+["']([^"']+)["']/gms)) {
    found.push({ specifier: match[1] ?? "", isDynamic: false });
  }
  for (const match of text.matchAll(/^import\s+["']([^"']+)["']/gm)) {
    found.push({ specifier: match[1] ?? "", isDynamic: false });
  }
  for (const match of text.matchAll(/\bimport\(\s*["']([^"']+)["']/g)) {
    found.push({ specifier: match[1] ?? "", isDynamic: true });
  }
  return found;
}

const files = readdirSync(src, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts"))
  .map((name) => ({ name: name.replace(/\.ts$/, ""), text: readFileSync(join(src, name), "utf8") }))
  .sort((a, b) => a.name.localeCompare(b.name));

function isAllowedFile(file: string, allowed: readonly string[] | undefined): boolean {
  return (
    allowed?.some(
      (entry) => entry === "*" || file === entry || (entry.endsWith("-") && file.startsWith(entry)),
    ) ?? false
  );
}

function complaint(file: string, { specifier, isDynamic }: Import): string | undefined {
  const room = file.split("/")[0] ?? "";
  const rule = house[room];
  if (rule === undefined) {
    return faces.has(file) ? undefined : `${file}: stands in no room`;
  }
  if (specifier.startsWith("node:")) {
    return rule.node.includes(specifier.slice("node:".length)) ? undefined : `${file} -> ${specifier}`;
  }
  if (!specifier.startsWith(".")) {
    const name = specifier
      .split("/")
      .slice(0, specifier.startsWith("@") ? 2 : 1)
      .join("/");
    return isAllowedFile(file, rule.npm[name]) ? undefined : `${file} -> ${specifier}`;
  }
  const target = relative(src, resolve(src, dirname(file), specifier)).replace(/\.js$/, "");
  const targetRoom = target.split("/")[0] ?? "";
  const allowed = [room, ...rule.rooms, ...(exceptions[file] ?? [])];
  if (allowed.includes(targetRoom) || allowed.includes(target)) {
    return undefined;
  }
  if (room === "cli" && target === loopDoor && isDynamic) {
    return undefined;
  }
  return `${file} -> ${target}`;
}

describe("the house", () => {
  it("has files to look at", () => {
    expect(files.length).toBeGreaterThan(20);
  });

  it("lets each room import only what the design's table allows", () => {
    const complaints = files.flatMap((file) =>
      importsOf(file.text).flatMap((entry) => complaint(file.name, entry) ?? []),
    );
    expect(complaints).toEqual([]);
  });

  it("keeps every file at 300 lines or fewer, and the median at 120 or fewer", () => {
    const lengths = files.map((file) => ({ name: file.name, lines: file.text.split("\n").length - 1 }));
    expect(lengths.filter((entry) => entry.lines > 300)).toEqual([]);
    const sorted = lengths.map((entry) => entry.lines).sort((a, b) => a - b);
    expect(sorted[Math.floor(sorted.length / 2)]).toBeLessThanOrEqual(120);
  });

  it("names files in kebab-case and never utils, helpers, common, types, manager or service", () => {
    const bad = files.filter(({ name }) => {
      const base = name.split("/").at(-1) ?? "";
      return (
        !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(base) ||
        /^(utils?|helpers?|common|types|manager|service)$/.test(base)
      );
    });
    expect(bad.map((file) => file.name)).toEqual([]);
  });

  it("re-exports only from the package's public faces", () => {
    const bad = files.filter(
      (file) =>
        !faces.has(file.name) && /^export\s+(\*|\{[^}]*\}|type\s+\{[^}]*\})\s+from\b/m.test(file.text),
    );
    expect(bad.map((file) => file.name)).toEqual([]);
  });

  it("reads clock, chance, environment and console only at the edges", () => {
    const forbidden =
      /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(|\bMath\.random\(|\bprocess\.env\b|\bconsole\.(log|error|warn|info|debug)\b/;
    const bad = files.filter((file) => !edges.has(file.name) && forbidden.test(file.text));
    expect(bad.map((file) => file.name)).toEqual([]);
  });

  it("subscribes in one place and has one Subject", () => {
    const subscribers = files.filter((file) => /\.subscribe\(/.test(file.text)).map((file) => file.name);
    const subjects = files.filter((file) => /\bnew \w*Subject\b/.test(file.text)).map((file) => file.name);
    expect(subscribers).toEqual(["agent/agent"]);
    expect(subjects).toEqual(["agent/pipeline"]);
  });

  it("keeps no mutable state at module level", () => {
    const bad = files.filter((file) => /^(export )?let /m.test(file.text));
    expect(bad.map((file) => file.name)).toEqual([]);
  });
});
