/** The client against a real QEMU: what facts.md 6 promises of the socket holds for this version too. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  connectQmp,
  QmpCommandError,
  QmpConnectError,
  type QmpConnectOptions,
  QmpInterruptedError,
  QmpTimeoutError,
} from "../../src/qmp/index.js";
import { type QemuProcess, startQemu } from "../support/qemu-process.js";

const PORT = ["-device", "pcie-root-port,id=rp0,chassis=1,slot=1"];

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => "no failure",
    (error: unknown) => error,
  );
}

/** The same attempt until it ends otherwise than `code`; for a kernel queue that empties on its own time. */
async function connectAfter(path: string, code: string): ReturnType<typeof connectQmp> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await connectQmp({ path });
    } catch (error) {
      if (!(error instanceof QmpConnectError) || error.code !== code || tries > 100) {
        throw error;
      }
      await delay(20);
    }
  }
}

/** What the first attempt that fails fails with; for a state that QEMU takes on in its own time. */
async function firstFailure(options: QmpConnectOptions): Promise<unknown> {
  for (;;) {
    try {
      const client = await connectQmp(options);
      await client.close();
    } catch (error) {
      return error;
    }
  }
}

/** Resolves once QEMU has seen that its last client left: then only its listening socket bears the path. */
async function seenOff(path: string): Promise<void> {
  while (readFileSync("/proc/net/unix", "utf8").split(path).length !== 2) {
    await delay(10);
  }
}

describe("a living QEMU", () => {
  let qemu: QemuProcess;
  beforeAll(async () => {
    qemu = await startQemu(PORT);
  });
  afterAll(async () => {
    await qemu[Symbol.asyncDispose]();
  });

  it("greets, negotiates and answers", async () => {
    await using client = await connectQmp({ path: qemu.path });
    expect(client.greeting.version.qemu.major).toBeGreaterThanOrEqual(7);
    expect(await client.execute("query-status")).toMatchObject({ status: "prelaunch", running: false });
    expect(await client.execute("query-name")).toEqual({ name: "wire-test" });
    expect((await client.execute("query-pci"))[0]?.devices.length).toBeGreaterThan(0);
    const port = { path: "/machine/peripheral/rp0" };
    expect(await client.execute("qom-get", { ...port, property: "pref64-reserve" })).toBe(2n ** 64n - 1n);
    expect(await client.execute("qom-list", port)).toContainEqual(expect.objectContaining({ name: "rp0" }));
  });

  it("takes a device and lets it go, each event before the reply it belongs to", async () => {
    await using client = await connectQmp({ path: qemu.path });
    await client.execute("device_add", { driver: "virtio-rng-pci", id: "d0", bus: "rp0", addr: "0" });
    const twice = client.execute("device_add", { driver: "virtio-rng-pci", id: "d1", bus: "rp0", addr: "0" });
    expect(await failureOf(twice)).toMatchObject({ qmpClass: "GenericError", command: "device_add" });
    const gone = client.waitFor("DEVICE_DELETED", (data) => data.device === "d0", { timeoutMs: 30_000 });
    await client.execute("device_del", { id: "d0" });
    // A reset completes a pending unplug even while no guest runs (facts.md 3.1).
    await client.execute("system_reset");
    expect((await gone).data.path).toBe("/machine/peripheral/d0");
    const error = await failureOf(client.execute("device_del", { id: "d0" }));
    expect(error).toBeInstanceOf(QmpCommandError);
    expect(error).toMatchObject({ qmpClass: "DeviceNotFound" });
  });

  it("answers 2,000 pipelined queries, each its own", async () => {
    await using client = await connectQmp({ path: qemu.path });
    const asked = Array.from({ length: 2000 }, (_, index) => (index % 2 === 0 ? "type" : "nonsense"));
    const answers = await Promise.all(
      asked.map((property) => failureOrValue(client.execute("qom-get", { path: "/machine", property }))),
    );
    expect(answers.filter((answer) => typeof answer === "string" && answer.startsWith("pc-q35")).length).toBe(
      1000,
    );
    expect(answers.filter((answer) => answer instanceof QmpCommandError).length).toBe(1000);
    expect(answers.every((answer, index) => (typeof answer === "string") === (asked[index] === "type"))).toBe(
      true,
    );
  });

  it("takes every text our formatter lets through without losing count", async () => {
    await using client = await connectQmp({ path: qemu.path });
    for (const text of [
      "\u0001\u001f\u007f",
      "é€😀",
      "\ufffd\u{10fffd}",
      '"\\/',
      "\u2028",
      "x".repeat(100_000),
    ]) {
      expect(await failureOf(client.execute("device_del", { id: text }))).toBeInstanceOf(QmpCommandError);
    }
    expect(await client.execute("query-status")).toMatchObject({ running: false });
  });

  it("keeps a second client waiting without a greeting, and serves the next once the first has left", async () => {
    const first = await connectQmp({ path: qemu.path });
    const second = await failureOf(connectQmp({ path: qemu.path, greetingTimeoutMs: 300 }));
    expect(second).toMatchObject({ code: "qmp.busy-or-silent", context: { stage: "greeting" } });
    expect(second).toMatchObject({
      silence: "busy",
      message: expect.stringMatching(/another client has this/),
    });
    const third = await failureOf(connectQmp({ path: qemu.path, greetingTimeoutMs: 300 }));
    expect(third).toMatchObject({ code: "qmp.busy-or-silent", silence: "busy" });
    // Those who left keep their place in the kernel's queue (facts.md 6).
    expect(await failureOf(connectQmp({ path: qemu.path, greetingTimeoutMs: 300 }))).toMatchObject({
      code: "qmp.backlog-full",
    });
    expect(await first.execute("query-status")).toMatchObject({ running: false });
    await first.close();
    await using next = await connectAfter(qemu.path, "qmp.backlog-full");
    expect(await next.execute("query-status")).toMatchObject({ running: false });
  });

  it("does not answer while it is stopped, and afterwards its late answer is known for what it is", async () => {
    const late: string[] = [];
    let heardLate: () => void = () => undefined;
    const lateAnswer = new Promise<void>((resolve) => {
      heardLate = resolve;
    });
    await using client = await connectQmp({
      path: qemu.path,
      onUnknown: (unknown) => {
        late.push(unknown.kind);
        heardLate();
      },
    });
    await qemu.stop();
    try {
      const error = await failureOf(client.execute("query-status", {}, { timeoutMs: 200 }));
      expect(error).toBeInstanceOf(QmpTimeoutError);
      expect(error).toMatchObject({ wasSent: true });
    } finally {
      qemu.kill("SIGCONT");
    }
    expect(await client.execute("query-status")).toMatchObject({ running: false });
    await lateAnswer;
    expect(late).toEqual(["late-answer"]);
  });

  it("stays silent to a new client while it is stopped", async () => {
    await seenOff(qemu.path);
    await qemu.stop();
    try {
      const error = await failureOf(connectQmp({ path: qemu.path, greetingTimeoutMs: 300 }));
      expect(error).toMatchObject({
        code: "qmp.busy-or-silent",
        silence: "not-accepting",
        message: expect.stringMatching(/takes no client: it is stopped/),
      });
    } finally {
      qemu.kill("SIGCONT");
    }
    await using client = await connectAfter(qemu.path, "qmp.backlog-full");
    expect(client.state).toBe("running");
  });

  it("greets and then does not answer while a command of another monitor blocks it", async () => {
    const folder = dirname(qemu.path);
    const [fifo, path] = [join(folder, "fifo"), join(folder, "blocked.sock")];
    execFileSync("mkfifo", [fifo]);
    const own = ["-qmp", `unix:${path},server=on,wait=off`];
    await using blocked = await startQemu(own);
    await using blocker = await connectQmp({ path: blocked.path });
    const args = { val: 0, size: 4096, filename: fifo };
    const saving = blocker.executeRaw("pmemsave", args, { timeoutMs: 60_000 });
    expect(await firstFailure({ path, negotiationTimeoutMs: 300 })).toMatchObject({
      code: "qmp.busy-or-silent",
      context: { stage: "negotiation" },
    });
    expect(await readFile(fifo)).toHaveLength(4096);
    expect(await saving).toEqual({});
    await using client = await connectQmp({ path });
    expect(await client.execute("query-status")).toMatchObject({ running: false });
  });

  it("keeps integers beyond 2^53 exact in both directions", async () => {
    await using client = await connectQmp({ path: qemu.path });
    const wide = 2n ** 53n + 1n;
    await client.executeRaw("object-add", { "qom-type": "iothread", id: "io", "poll-max-ns": wide });
    const read = client.execute("qom-get", { path: "/objects/io", property: "poll-max-ns" });
    expect(await read).toBe(wide);
    await client.executeRaw("object-del", { id: "io" });
  });

  it("gives its events to iterators, and to waiters for names this package does not know", async () => {
    await using client = await connectQmp({ path: qemu.path });
    const events = client.events();
    const resumed = client.waitForRaw("RESUME", () => true, { timeoutMs: 30_000 });
    await client.execute("cont");
    await client.execute("stop");
    expect((await resumed).timestampMs).toBeGreaterThan(1_000_000_000_000);
    const names = [await events.next(), await events.next()].map(({ value }) => value?.name);
    expect(names).toEqual(["RESUME", "STOP"]);
  });
});

async function failureOrValue(promise: Promise<unknown>): Promise<unknown> {
  return await promise.catch((error: unknown) => error);
}

describe("a dying QEMU", () => {
  it("leaves every call with an unknown outcome when it is killed, and a socket nobody listens on", async () => {
    await using qemu = await startQemu();
    const exited = once(qemu.process, "exit");
    await using client = await connectQmp({ path: qemu.path });
    const waiter = client.waitFor("SHUTDOWN", () => true, { timeoutMs: 60_000 });
    await qemu.stop();
    const calls = [client.execute("query-status"), client.execute("stop")];
    qemu.kill("SIGKILL");
    const errors = await Promise.all([...calls, waiter].map(failureOf));
    expect(errors.map((error) => error instanceof QmpInterruptedError && error.code)).toEqual(
      Array.from({ length: 3 }, () => "qmp.disconnected"),
    );
    expect(await client.closed).toMatchObject({ kind: expect.stringMatching(/^(peer|socket)$/) });
    // While it dies its socket may still take a connection, only to hang up (facts.md 14).
    await exited;
    expect(await failureOf(connectQmp({ path: qemu.path }))).toMatchObject({ code: "qmp.refused" });
  });

  it("says why it quits before it answers, and takes its socket with it", async () => {
    await using qemu = await startQemu();
    const exited = once(qemu.process, "exit");
    await using client = await connectQmp({ path: qemu.path });
    const shutdown = client.waitFor("SHUTDOWN", () => true, { timeoutMs: 30_000 });
    await client.execute("quit");
    expect((await shutdown).data).toEqual({ guest: false, reason: "host-qmp-quit" });
    await client.closed;
    await exited;
    expect(await failureOf(connectQmp({ path: qemu.path }))).toMatchObject({ code: "qmp.absent" });
  });

  it("is told from a pretty-printing monitor, whose cure is named", async () => {
    await using qemu = await startQemu();
    const path = qemu.path.replace(/qmp\.sock$/, "pretty.sock");
    const other = qemu.path.replace(/qmp\.sock$/, "pretty-2.sock");
    const chardev = ["-chardev", `socket,id=m1,path=${path},server=on,wait=off`];
    const mon = [...chardev, "-mon", "chardev=m1,mode=control,pretty=on"];
    await using second = await startQemu([...mon, "-qmp-pretty", `unix:${other},server=on,wait=off`]);
    for (const pretty of [path, other]) {
      expect(pretty).not.toBe(second.path);
      expect(await failureOf(connectQmp({ path: pretty }))).toMatchObject({
        code: "qmp.pretty",
        message: expect.stringMatching(/remove pretty=on.*-qmp-pretty/),
      });
    }
  });
});
