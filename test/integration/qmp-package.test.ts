/** `pciplug/qmp` as a stranger gets it from npm: plain Node, no dependency, types that hold. */
import { execFile, execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import * as source from "../../src/qmp/index.js";
import { PackedPackage } from "../support/packed.js";
import { startQmpServer } from "../support/qmp-server.js";

let packed: PackedPackage;
beforeAll(() => {
  packed = new PackedPackage();
}, 120_000);
afterAll(() => {
  packed[Symbol.dispose]();
});

function run(code: string): { status: number | null; output: string } {
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    cwd: packed.app,
    encoding: "utf8",
  });
  return { status: child.status, output: child.stdout + child.stderr };
}

it("holds the client with its types, and its page of documentation", () => {
  expect(packed.files).toEqual(
    expect.arrayContaining([
      "dist/qmp/index.js",
      "dist/qmp/index.d.ts",
      "dist/qmp/observable.js",
      "dist/qmp/observable.d.ts",
      "contrib/doc/qmp.md",
    ]),
  );
});

it("is imported by plain Node with no other package there, and offers what the source offers", () => {
  const { status, output } = run(
    'console.log(JSON.stringify(Object.keys(await import("pciplug/qmp")).sort()))',
  );
  expect(output).toBe(`${JSON.stringify(Object.keys(source).sort())}\n`);
  expect(status).toBe(0);
});

it("talks to a monitor, and needs RxJS for its Observable only", async () => {
  await using server = await startQmpServer(async (peer) => {
    await peer.negotiate();
    const command = await peer.hear();
    peer.event("STOP");
    peer.reply(command);
    peer.endWriting();
  });
  const talk = packed.write(
    "talk.mjs",
    `import { connectQmp } from "pciplug/qmp";
     import { fromQmpEvents } from "pciplug/qmp/rx";
     const vm = await connectQmp({ path: process.argv[2] });
     fromQmpEvents(vm).subscribe({ next: ({ name }) => console.log(name), complete: () => console.log("complete") });
     await vm.execute("stop");`,
  );
  expect(run('await import("pciplug/qmp/rx")')).toMatchObject({
    status: 1,
    output: expect.stringMatching(/Cannot find package 'rxjs'/),
  });
  packed.link("rxjs");
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [talk, server.path]);
  expect([stdout, stderr]).toEqual(["STOP\ncomplete\n", ""]);
});

it("has types that know its commands and refuse what they do not know", () => {
  packed.link("@types/node");
  packed.link("undici-types");
  packed.link("rxjs");
  const consumer = packed.write(
    "consumer.mts",
    `import { connectQmp, type QmpEvent } from "pciplug/qmp";
     import { fromQmpEvents } from "pciplug/qmp/rx";
     import type { Observable } from "rxjs";

     const vm = await connectQmp({ path: "/run/vm.sock", signal: AbortSignal.timeout(1000) });
     export const running: boolean = (await vm.execute("query-status")).running;
     export const arch: string = (await vm.executeRaw<{ arch: string }>("query-target")).arch;
     export const unproven: unknown = await vm.executeRaw("query-target", { wide: 2n ** 60n });
     export const checked: number = await vm.executeRaw("x", {}, { check: (reply) => Number(reply) });
     export const events$: Observable<QmpEvent> = fromQmpEvents(vm);
     const gone = await vm.waitFor("DEVICE_DELETED", (data) => data.path !== "", { timeoutMs: 1 });
     export const device: string | undefined = gone.data.device;
     for await (const event of vm.events({ bufferSize: 5 })) {
       if (event.name === "RESET") {
         export_(event.data.guest);
       }
     }
     function export_(_: boolean): void {}

     // @ts-expect-error an argument is missing
     await vm.execute("device_del");
     // @ts-expect-error an argument has another type
     await vm.execute("device_del", { id: 5 });
     // @ts-expect-error a command that takes no arguments
     await vm.execute("query-status", { path: "/" });
     // @ts-expect-error no such command: executeRaw
     await vm.execute("query-target");
     // @ts-expect-error no such event: waitForRaw
     await vm.waitFor("BLOCK_JOB_READY", () => true, { timeoutMs: 1 });
     // @ts-expect-error a wait without a deadline
     await vm.waitFor("STOP", () => true);
    `,
  );
  const tsc = join(import.meta.dirname, "../../node_modules/.bin/tsc");
  const options =
    "--noEmit --strict --module nodenext --target es2023 --lib es2023,esnext.disposable --types node";
  const compile = (): string =>
    execFileSync(tsc, [...options.split(" "), consumer], {
      cwd: packed.app,
      encoding: "utf8",
      stdio: "pipe",
    });
  try {
    expect(compile()).toBe("");
  } catch (error) {
    throw new Error((error as { stdout?: string }).stdout ?? String(error), { cause: error });
  }
});
