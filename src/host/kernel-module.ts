/** Loading a kernel module, in a child with a deadline: a module's init may hang like any other kernel code. */
import { runChild } from "./child.js";
import type { KernelIoResult } from "./kernel-io.js";

/** Makes the kernel load a module of this machine, never of another root. Success does not mean that a driver is there. */
export async function loadKernelModule(name: string, deadlineMs: number): Promise<KernelIoResult> {
  const end = await runChild("modprobe", ["--", name], "", deadlineMs);
  switch (end.kind) {
    case "missing":
      return { kind: "failed", detail: `cannot start modprobe: ${end.detail}` };
    case "stuck":
      return { kind: "stuck", pid: end.pid, detail: `modprobe ${name} did not end within ${deadlineMs} ms` };
    case "ended":
      return end.code === 0
        ? { kind: "done", text: "" }
        : { kind: "failed", detail: end.stderr.trim().split("\n", 1)[0] ?? "" };
  }
}
