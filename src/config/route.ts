/**
 * The way to a file: every folder in which an entry has a say about which file is meant, links followed one by one.
 *
 * Another link, folder or file anywhere on the way is another file (NixOS swaps a link in the middle of
 * /etc/pciplug/config.yaml -> /etc/static/... -> /nix/store/...; a ConfigMap swaps `..data`). The way may end early:
 * what is not there yet may come.
 */
import type { BigIntStats } from "node:fs";
import { lstat, readlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

/** As the kernel's MAXSYMLINKS. */
const MOST_LINKS = 40;

/** The way as it was at one moment. */
export interface Route {
  /** The folders that exist on it, without links; `id` changes when another folder takes the place. */
  readonly folders: readonly { readonly path: string; readonly id: string }[];
  /** The names that count in these folders, and those of the folders themselves. */
  readonly names: ReadonlySet<string>;
  /** Changes when a link, a folder or the file on the way does, as far as stat(2) can tell. */
  readonly print: string;
}

/** Walks the way to `path`. Never throws: where it cannot go on, it ends. */
export async function readRoute(path: string): Promise<Route> {
  const folders = new Map<string, string>();
  const names = new Set<string>();
  const prints: string[] = [];
  let here = "/";
  let rest = partsOf(resolve(path));
  let links = 0;
  for (;;) {
    const folder = await statOf(here);
    const [next, ...after] = rest;
    if (folder?.isDirectory() !== true || next === undefined) {
      break;
    }
    folders.set(here, idOf(folder));
    names.add(basename(here));
    if (next === "..") {
      here = dirname(here);
      rest = after;
      continue;
    }
    const target = join(here, next);
    names.add(next);
    const stats = await statOf(target);
    prints.push(`${target} ${printOf(stats)}`);
    if (stats?.isSymbolicLink() !== true) {
      here = target;
      rest = after;
      continue;
    }
    links += 1;
    const to = await readlink(target).catch(() => null);
    if (to === null || links > MOST_LINKS) {
      break;
    }
    rest = [...partsOf(to), ...after];
    here = to.startsWith("/") ? "/" : here;
  }
  return {
    folders: [...folders].map(([folder, id]) => ({ path: folder, id })),
    names,
    print: prints.join("\n"),
  };
}

function partsOf(path: string): string[] {
  return path.split("/").filter((part) => part !== "" && part !== ".");
}

function statOf(path: string): Promise<BigIntStats | null> {
  return lstat(path, { bigint: true }).catch(() => null);
}

/** Which file or folder it is. A time joins the inode, because file systems use inodes again. */
function idOf(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}:${stats.birthtimeNs}`;
}

function printOf(stats: BigIntStats | null): string {
  if (stats === null) {
    return "is not there";
  }
  // The times of a folder change with every entry; its mode and owner decide whether the file is believed.
  const { mode, uid } = stats;
  return stats.isDirectory()
    ? `${idOf(stats)} ${mode} ${uid}`
    : `${stats.dev}:${stats.ino}:${stats.ctimeNs} ${stats.size}`;
}
