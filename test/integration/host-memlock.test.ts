/** RLIMIT_MEMLOCK of a process of our own is raised by the real prlimit, and never lowered. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import type { HostContext, HostWrite } from "../../src/host/host-write.js";
import { childKernelIo } from "../../src/host/kernel-io.js";
import { raiseMemlock } from "../../src/host/memlock.js";
import { hostRoot } from "../../src/host/root.js";
import { waitFor } from "../support/waiting.js";

const PAGE = 4_096;

/** A process that may lock four pages, and by its hard limit as much as we. */
async function aPoorProcess(): Promise<{ child: ChildProcess; pid: number; startTicks: string }> {
  const child = spawn("prlimit", [`--memlock=${4 * PAGE}:`, "sleep", "600"], { stdio: "ignore" });
  onTestFinished(() => void child.kill("SIGKILL"));
  const pid = child.pid ?? 0;
  const text = (file: string) => readFileSync(`/proc/${pid}/${file}`, "latin1");
  await waitFor(
    "sleep",
    () => text("comm") === "sleep\n",
    () => text("comm"),
  );
  return {
    child,
    pid,
    startTicks:
      text("stat")
        .slice(text("stat").lastIndexOf(")") + 2)
        .split(" ")[19] ?? "",
  };
}

function limitsOf(pid: number): readonly string[] {
  const line = /^Max locked memory +(\S+) +(\S+)/m.exec(readFileSync(`/proc/${pid}/limits`, "latin1"));
  return line?.slice(1, 3) ?? [];
}

function hands(facts: Partial<HostContext> = {}) {
  const announced: HostWrite[] = [];
  const context: HostContext = {
    root: hostRoot("/"),
    io: childKernelIo(),
    announce: async (write) => {
      announced.push(write);
    },
    loadModule: async () => ({ kind: "failed", detail: "not here" }),
    deadlineMs: 10_000,
    settleMs: 10,
    ...facts,
  };
  return { announced, context };
}

describe("the memory limit of a process", () => {
  it("is raised after it was announced, and the hard limit stays", async () => {
    const process = await aPoorProcess();
    const [, hard] = limitsOf(process.pid);
    const { announced, context } = hands();
    expect(await raiseMemlock(context, process, 8 * PAGE)).toBeNull();
    expect(limitsOf(process.pid)).toEqual([String(8 * PAGE), hard]);
    expect(announced).toEqual([
      { path: `/proc/${process.pid}/limits`, text: `Max locked memory ${8 * PAGE}` },
    ]);
  });

  it("is never lowered", async () => {
    const process = await aPoorProcess();
    const { announced, context } = hands();
    expect(await raiseMemlock(context, process, PAGE)).toBeNull();
    expect([limitsOf(process.pid)[0], announced]).toEqual([String(4 * PAGE), []]);
  });

  it("stays as it is when the change cannot be written down", async () => {
    const process = await aPoorProcess();
    const { context } = hands({ announce: () => Promise.reject(new Error("disk full")) });
    expect(await raiseMemlock(context, process, 8 * PAGE)).toMatchObject({ code: "host.not-announced" });
    expect(limitsOf(process.pid)[0]).toBe(String(4 * PAGE));
  });

  it("is not touched of another process with the same number", async () => {
    const process = await aPoorProcess();
    const { context } = hands();
    const other = { ...process, startTicks: "1" };
    expect(await raiseMemlock(context, other, 8 * PAGE)).toMatchObject({ code: "host.process-gone" });
    expect(limitsOf(process.pid)[0]).toBe(String(4 * PAGE));
  });

  it("is read back: a prlimit that changed nothing is told", async () => {
    const process = await aPoorProcess();
    const { context } = hands({
      io: { ...childKernelIo(), limitMemlock: async () => ({ kind: "done", text: "" }) },
    });
    expect(await raiseMemlock(context, process, 8 * PAGE)).toMatchObject({ code: "host.read-back" });
  });

  it("that the kernel does not let us set is told in prlimit's words", async () => {
    const io = childKernelIo();
    const gone = await io.limitMemlock(2 ** 22 + 1, { softBytes: PAGE, hardBytes: PAGE }, 10_000);
    expect(gone).toMatchObject({ kind: "failed", detail: expect.stringContaining("No such process") });
  });
});
