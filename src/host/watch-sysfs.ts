/**
 * Polling the times of /sys/bus/pci/devices: the source that needs neither udev nor any other program.
 *
 * sysfs keeps the times of a folder up to date only once they were set by hand: "priming", one utimes() by root
 * (facts.md 10). That is a write to the host, so it is announced, and not done while only observing. A folder that is
 * not on sysfs (a recording, the simulation) is never changed.
 */
import { existsSync } from "node:fs";
import { stat, statfs, utimes } from "node:fs/promises";
import { defer, from, mergeMap, type Observable, of, takeWhile } from "rxjs";
import { messageOf } from "../base/error.js";
import type { HostWrite } from "./host-write.js";
import type { HostRoot } from "./root.js";
import { watchFolder } from "./watch-folder.js";
import { isMissing, isUp, type SourceEvent, supervised, WAKE } from "./watch-source.js";

export interface SysfsPollingDeps {
  readonly root: HostRoot;
  readonly announce: (write: HostWrite) => Promise<void>;
  readonly isObserving: boolean;
  /** Between two looks at the folder. */
  readonly pollMs: number;
  /** Whether a folder is on sysfs, by default as statfs(2) has it. */
  readonly isSysfs?: (folder: string) => Promise<boolean>;
}

/** statfs(2): SYSFS_MAGIC. */
const SYSFS_MAGIC = 0x62656572;
const BACKOFF = { firstMs: 1_000, longestMs: 60_000 };

/** Watches the devices folder by polling it, priming it first where that is needed. */
export function watchSysfs(deps: SysfsPollingDeps): Observable<SourceEvent> {
  const folder = deps.root.devices();
  return supervised(
    () =>
      defer(() => prime(deps, folder)).pipe(
        mergeMap((why) => (why === null ? poll(folder, deps.pollMs) : of(isMissing(why)))),
      ),
    BACKOFF,
  );
}

function poll(folder: string, pollMs: number): Observable<SourceEvent> {
  return watchFolder(folder, pollMs).pipe(
    takeWhile(() => existsSync(folder)),
    mergeMap((event) =>
      from(event.kind === "ready" ? [isUp(`polling ${folder} every ${pollMs} ms`)] : [WAKE]),
    ),
  );
}

/** Resolves to the reason why polling would see nothing; `null` when it will see everything. */
async function prime(deps: SysfsPollingDeps, folder: string): Promise<string | null> {
  try {
    if (!(await (deps.isSysfs ?? isSysfs)(folder))) {
      return null;
    }
    if (deps.isObserving) {
      return `${folder} would have to be primed by one utimes(), which is not done while observing`;
    }
    await deps.announce({ path: folder, text: "utimes" });
    return (await hasTakenTimes(folder)) ? null : `${folder} does not keep the times it is given`;
  } catch (error) {
    return `cannot poll ${folder}: ${messageOf(error)}`;
  }
}

async function isSysfs(folder: string): Promise<boolean> {
  return (await statfs(folder)).type === SYSFS_MAGIC;
}

/** A time that the folder does not have by itself, so that reading it back proves something. */
async function hasTakenTimes(folder: string): Promise<boolean> {
  const { mtimeMs } = await stat(folder);
  const seconds = Math.floor(mtimeMs / 1000) - 1;
  await utimes(folder, seconds, seconds);
  return (await stat(folder)).mtimeMs === seconds * 1000;
}
