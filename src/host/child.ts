/**
 * One short-lived child process with a deadline.
 *
 * Promises to answer soon after the deadline whatever the child does: a child in an uninterruptible wait cannot be
 * killed (facts.md 5), so it is let go. Neither it nor its pipes keep the event loop, or the end of the process, waiting.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { clearTimeout, setTimeout } from "node:timers";

export type ChildEnd =
  | { readonly kind: "ended"; readonly code: number | null; readonly stdout: string; readonly stderr: string }
  /** Still there after the deadline; a SIGKILL is pending. */
  | { readonly kind: "stuck"; readonly pid: number }
  /** Could not be started: mostly not installed. */
  | { readonly kind: "missing"; readonly detail: string };

/** More than this from a child is not looked at. */
const OUTPUT_CAP = 65_536;

/**
 * Runs a command without a shell. `input` is its standard input. Output is read as Latin-1, so that every byte
 * survives the way there and back.
 */
export function runChild(
  command: string,
  args: readonly string[],
  input: string,
  deadlineMs: number,
): Promise<ChildEnd> {
  return new Promise((resolve) => {
    // Its own session: a Ctrl-C meant for the agent must not tear a write in the middle of a transaction.
    const child = spawn(command, [...args], { stdio: "pipe", detached: true });
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    const timer = setTimeout(() => {
      resolve(letGo(child));
    }, deadlineMs);
    child.once("error", (error) => {
      clearTimeout(timer);
      resolve({ kind: "missing", detail: error.message });
    });
    child.once("close", (code) => {
      clearTimeout(timer);
      resolve({ kind: "ended", code, stdout: stdout.text(), stderr: stderr.text() });
    });
    child.stdin.on("error", () => {
      // The child ended without reading: its exit code says why.
    });
    child.stdin.end(input, "latin1");
  });
}

function letGo(child: ChildProcessWithoutNullStreams): ChildEnd {
  child.kill("SIGKILL");
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) {
    stream.destroy();
  }
  // A child that was never started has had its "error" long before any deadline.
  return { kind: "stuck", pid: child.pid ?? 0 };
}

function collect(stream: NodeJS.ReadableStream): { readonly text: () => string } {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on("data", (chunk: Buffer) => {
    if (size < OUTPUT_CAP) {
      chunks.push(chunk);
      size += chunk.length;
    }
  });
  return { text: () => Buffer.concat(chunks).toString("latin1", 0, OUTPUT_CAP) };
}
