/**
 * The kernel's and udev's own events through `udevadm monitor`: the first of all sources to know (facts.md 10).
 *
 * A child that is line-buffered, kept alive with growing pauses, and ended when nobody listens any more. Only the
 * beginning of an event matters; what it says is not read.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { clearTimeout, setTimeout } from "node:timers";
import { Observable, of } from "rxjs";
import type { HostRoot } from "./root.js";
import { isMissing, isUp, type SourceEvent, supervised, WAKE } from "./watch-source.js";

/**
 * `env`, because udevadm ends at once in a chroot without that variable (facts.md 12); `stdbuf`, because a pipe would
 * hold its lines back.
 */
const UDEVADM: readonly string[] = [
  ...["env", "SYSTEMD_IGNORE_CHROOT=1", "stdbuf", "-oL"],
  ...["udevadm", "monitor", "--kernel", "--udev", "--property", "--subsystem-match=pci"],
];

const BACKOFF = { firstMs: 1_000, longestMs: 60_000 };
const COMPLAINT_CAP = 300;
/** A monitor that has not announced itself by then counts as missing until it does: others must not wait for it. */
const SILENCE_MS = 6_000;

/**
 * Runs the monitor. `command` stands in for udevadm in tests; without it this is a source of the live host only,
 * because the events are those of the machine we run on.
 */
export function watchUdevadm(
  root: HostRoot,
  command?: readonly string[],
  silenceMs = SILENCE_MS,
): Observable<SourceEvent> {
  if (command === undefined && !root.isLive) {
    return of(isMissing("udevadm speaks of the machine it runs on, not of this root"));
  }
  return supervised(() => runMonitor(command ?? UDEVADM, silenceMs), BACKOFF);
}

/** One life of the child. Ends when the child does, having said why. */
function runMonitor(command: readonly string[], silenceMs: number): Observable<SourceEvent> {
  return new Observable((subscriber) => {
    const [program = "", ...args] = command;
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    const header = new Header();
    let complaint = "";
    const silence = setTimeout(() => {
      subscriber.next(isMissing(`udevadm monitor (process ${child.pid}) does not announce itself`));
    }, silenceMs);
    const end = (why: string): void => {
      subscriber.next(isMissing(why));
      subscriber.complete();
    };
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (header.endsWith(line)) {
        clearTimeout(silence);
        subscriber.next(isUp(`udevadm monitor runs as process ${child.pid}`));
      } else if (/^(KERNEL|UDEV) *\[/.test(line)) {
        subscriber.next(WAKE);
      }
    });
    child.stderr.on("data", (chunk: Buffer) => {
      complaint = (complaint + chunk.toString("latin1")).slice(0, COMPLAINT_CAP);
    });
    child.once("error", (error) => end(`cannot start ${program}: ${error.message}`));
    child.once("close", (code, signal) =>
      end(`udevadm monitor ended (${signal ?? code}): ${complaint.trim()}`),
    );
    return () => {
      clearTimeout(silence);
      child.kill("SIGTERM");
    };
  });
}

/** The lines before the first event: the sockets are open once both were announced and the empty line is out. */
class Header {
  #isOver = false;
  #hasKernel = false;

  /** Whether this line is the last one of the header. */
  endsWith(line: string): boolean {
    if (this.#isOver) {
      return false;
    }
    this.#hasKernel ||= line.startsWith("KERNEL - ");
    this.#isOver = this.#hasKernel && line === "";
    return this.#isOver;
  }
}
