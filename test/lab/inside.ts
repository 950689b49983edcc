/**
 * The half of the channel that runs inside the L1 machine (started by its init, see l1-init.ts): reads requests from
 * the virtio-serial port given as argument and answers them. It ends when the runner goes away, and with it the machine.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  createReadStream,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect } from "node:net";
import { release } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type {
  ExecResult,
  OperationName,
  Operations,
  ProcessState,
  Request,
  SpawnRequest,
} from "./protocol.js";
import { QmpLink, type QmpReply, within } from "./qmp.js";

type Handlers = {
  readonly [K in OperationName]: (args: Operations[K]["args"]) => Promise<Operations[K]["result"]>;
};

/** Runs a shell command; after the deadline its whole process group is killed and what it said so far is given. */
function exec(command: string, deadlineMs: number, stdin = ""): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    const child = spawn("/bin/sh", ["-c", command], { detached: true, stdio: "pipe" });
    const said = { stdout: "", stderr: "" };
    let isOver = false;
    const finish = (code: number | null, signal: string | null, timedOut: boolean) => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      resolve({ code, signal, ...said, timedOut });
    };
    // A command stuck in the kernel (state D) does not die by SIGKILL: the answer must not wait for it.
    const timer = setTimeout(() => {
      if (child.pid !== undefined) sendSignal(-child.pid, "SIGKILL");
      finish(null, "SIGKILL", true);
    }, deadlineMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => (said.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said.stderr += text));
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin);
    child.on("error", reject);
    child.on("close", (code, signal) => finish(code, signal, false));
  });
}

function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** Keeps what became of each process that was spawned in the background. */
class Processes {
  readonly #ends = new Map<number, Promise<ProcessState>>();

  start(request: SpawnRequest): number {
    for (const path of [request.stdout, request.stderr]) mkdirSync(dirname(path), { recursive: true });
    const out = openSync(request.stdout, "a");
    const err = openSync(request.stderr, "a");
    const [program = "", ...rest] = request.argv;
    const env = { ...process.env, ...request.env };
    const child = spawn(program, rest, { detached: true, stdio: ["ignore", out, err], env });
    closeSync(out);
    closeSync(err);
    const ended = new Promise<ProcessState>((resolve) => {
      child.on("exit", (code, signal) => resolve({ kind: "ended", code, signal }));
      child.on("error", () => resolve({ kind: "ended", code: 127, signal: null }));
    });
    if (child.pid === undefined) throw new Error(`cannot start ${program}`);
    this.#ends.set(child.pid, ended);
    return child.pid;
  }

  state(pid: number, deadlineMs: number): Promise<ProcessState> {
    const ended = this.#ends.get(pid);
    if (ended === undefined) throw new Error(`process ${pid} was not started here`);
    return Promise.race([ended, delay<ProcessState>(deadlineMs, { kind: "running" }, { ref: false })]);
  }
}

async function until(args: Operations["until"]["args"]): Promise<Operations["until"]["result"]> {
  const startedMs = performance.now();
  const leftMs = () => args.deadlineMs - (performance.now() - startedMs);
  for (let attempts = 1; ; attempts++) {
    const last = await exec(args.command, Math.max(leftMs(), 1_000));
    const tookMs = Math.round(performance.now() - startedMs);
    if (last.code === 0 || leftMs() <= 0) return { isMet: last.code === 0, attempts, tookMs, last };
    await delay(args.everyMs);
  }
}

async function said(
  { path, pattern, pid, deadlineMs }: Operations["said"]["args"],
  processes: Processes,
): Promise<Operations["said"]["result"]> {
  for (const startedMs = performance.now(); ; ) {
    const { kind } = await processes.state(pid, 100);
    const line =
      readOrNull(path)
        ?.split("\n")
        .find((text) => new RegExp(pattern).test(text)) ?? null;
    const isOver = performance.now() - startedMs > deadlineMs;
    if (line !== null || kind === "ended" || isOver) return { line, isRunning: kind === "running" };
  }
}

async function qmp(args: Operations["qmp"]["args"]): Promise<readonly QmpReply[]> {
  const link = await QmpLink.open(args.socket, args.deadlineMs);
  try {
    const replies: QmpReply[] = [];
    for (const command of args.commands) replies.push(await link.send(command, args.deadlineMs));
    return replies;
  } finally {
    link.close();
  }
}

/** Has one line run by the shell on the serial console of an L2 guest (see guest-init.ts). */
async function guest(args: Operations["guest"]["args"]): Promise<Operations["guest"]["result"]> {
  const socket = connect(args.socket).setEncoding("utf8");
  try {
    const answer = new Promise<{ code: number; output: string }>((resolve, reject) => {
      let heard = "";
      socket.on("data", (chunk: string) => {
        heard += chunk.replaceAll("\r", "");
        const end = /<begin>\n([\s\S]*?)<end (\d+)>\n/.exec(heard);
        if (end !== null) resolve({ code: Number(end[2]), output: end[1] ?? "" });
      });
      socket.on("error", reject);
      socket.on("close", () => reject(new Error("the guest's console was closed")));
    });
    socket.write(`${args.line}\n`);
    return await within(answer, args.deadlineMs, "no answer from the guest");
  } finally {
    socket.destroy();
  }
}

function createHandlers(processes: Processes): Handlers {
  return {
    exec: ({ command, deadlineMs, stdin }) => exec(command, deadlineMs, stdin),
    spawn: async (request) => ({ pid: processes.start(request) }),
    signal: async ({ pid, signal }) => ({ isSent: sendSignal(pid, signal) }),
    ended: ({ pid, deadlineMs }) => processes.state(pid, deadlineMs),
    write: async ({ path, text, mode }) => {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode });
      return null;
    },
    read: async ({ path }) => ({ text: readOrNull(path) }),
    until,
    said: (args) => said(args, processes),
    qmp,
    guest,
  };
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

function serve(portPath: string): void {
  const port = openSync(portPath, "r+");
  const say = (message: unknown) => {
    const bytes = Buffer.from(`${JSON.stringify(message)}\n`);
    for (let at = 0; at < bytes.length; ) at += writeSync(port, bytes, at);
  };
  const handlers = createHandlers(new Processes());
  const handle = async ({ id, op, args }: Request) => {
    try {
      const handler = handlers[op] as (args: unknown) => Promise<unknown>;
      say({ id, result: await handler(args) });
    } catch (error) {
      say({ id, error: error instanceof Error ? error.message : String(error) });
    }
  };
  let rest = "";
  createReadStream("", { fd: port, encoding: "utf8", autoClose: false })
    .on("data", (chunk) => {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) void handle(JSON.parse(line) as Request);
    })
    .on("end", () => process.exit(0));
  say({ hello: { kernel: release(), node: process.version } });
}

const [portPath] = process.argv.slice(2);
if (portPath === undefined) throw new Error("usage: inside.js PORT");
serve(portPath);
