/**
 * Whether a file may be believed: it and every folder on the way to it belong to root or to the user who runs, and
 * nobody else can write to them (semantics.md 1).
 *
 * A folder with the sticky bit (/tmp, /nix/store) may be writable: there, others cannot replace what is not theirs.
 * Symbolic links are followed one by one, so that every folder that has a say is looked at. Never writes.
 */
import type { Stats } from "node:fs";
import { lstat, readlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";

const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;
/** As the kernel's MAXSYMLINKS. */
const MOST_LINKS = 40;

/** Where the file really is, or why it is not believed. */
export type Trust =
  | { readonly kind: "trusted"; readonly path: string }
  | { readonly kind: "refused"; readonly message: string; readonly hint: string };

/** Walks the whole way to a file. @throws the system's own error (ENOENT, EACCES, ...) when the way ends. */
export async function judgeTrust(path: string, trustedUid: number): Promise<Trust> {
  const uids = new Set([0, trustedUid]);
  const start = resolve(path);
  let rest = start.split("/").filter((part) => part !== "");
  let here = "/";
  let links = 0;
  let stats = await lstat(here);
  for (;;) {
    const complaint = complaintAbout(here, stats, uids);
    const next = rest[0];
    if (complaint !== null || next === undefined) {
      return complaint ?? { kind: "trusted", path: here };
    }
    const target = resolve(here, next);
    stats = await lstat(target);
    rest = rest.slice(1);
    if (stats.isSymbolicLink()) {
      links += 1;
      if (links > MOST_LINKS) {
        return { kind: "refused", message: "too many symbolic links", hint: "name the file itself" };
      }
      const owner = complaintAbout(target, stats, uids);
      if (owner !== null) {
        return owner;
      }
      rest = [...resolve(dirname(target), await readlink(target)).split("/"), ...rest].filter(
        (part) => part !== "",
      );
      here = "/";
      stats = await lstat(here);
    } else {
      here = target;
    }
  }
}

/** What speaks against one step of the way; `null`: nothing. */
export function complaintAbout(path: string, stats: Stats, uids: ReadonlySet<number>): Trust | null {
  const what = stats.isDirectory() ? `the folder ${path}` : path;
  if (!uids.has(stats.uid)) {
    return {
      kind: "refused",
      message: `${what} belongs to user ${stats.uid}, who could change the rules: expected root`,
      hint: `chown root ${path}`,
    };
  }
  const isSticky = stats.isDirectory() && (stats.mode & STICKY) !== 0;
  // The mode of a symbolic link means nothing.
  if (stats.isSymbolicLink() || isSticky || (stats.mode & WRITABLE_BY_OTHERS) === 0) {
    return null;
  }
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, "0");
  return {
    kind: "refused",
    message: `${what} may be written by others (mode ${mode}), who could change the rules`,
    hint: `chmod go-w ${path}`,
  };
}
