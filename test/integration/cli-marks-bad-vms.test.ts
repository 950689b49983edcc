/** Bad sockets and absent addresses only mark a VM or a rule: the agent runs on, and the good VM gets its card. */
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type CliGround, fileFor, hostCard, onGround, readyCard } from "../support/cli-ground.js";
import { runProgram } from "../support/program.js";

type Peer = (socket: Socket) => void;

/** What answers on each socket, by the name of the VM in the file. */
const peers: Readonly<Record<string, Peer>> = {
  silent: () => undefined,
  garbage: (socket) => socket.write("220 mail.example ESMTP\r\n"),
  truncated: (socket) => socket.end('{"QMP": {"version": {"qemu": {"mic'),
  deaf: (socket) => socket.destroy(),
};

/** How each VM is marked: what, where, what to do. */
const expected: Readonly<Record<string, readonly [string, RegExp]>> = {
  silent: ["unreachable", /silent\.sock: .*no greeting within 5000 ms; .*says nothing: .*a -qmp option/],
  garbage: ["unreachable", /garbage\.sock: .*not a QMP server: .*"220 mail\.example ESMTP".*name the path/],
  truncated: ["unreachable", /truncated\.sock: .*in the middle of its first line; name the path/],
  deaf: ["unreachable", /deaf\.sock.* hung up|deaf\.sock hangs up again and again/],
  file: ["absent", /file\.sock: nobody listens on it any more; .*start the VM again/],
  absent: ["absent", /absent\.sock: no such socket; the VM is not running, or the path is wrong/],
  "nowhere-absent": ["absent", /nowhere\/absent\.sock: no such socket; /],
};

async function serve(path: string, peer: Peer): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    peer(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) {
          socket.destroy();
        }
      }),
  };
}

/** Lets every peer listen. */
async function serveAll(socketOf: (name: string) => string): Promise<AsyncDisposable> {
  const servers = await Promise.all(Object.entries(peers).map(([name, peer]) => serve(socketOf(name), peer)));
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}

interface VmAnswer {
  readonly name: string;
  readonly state: string;
  readonly reason?: string;
}

async function vmsOf(ground: CliGround): Promise<readonly VmAnswer[]> {
  const { stdout } = await runProgram(ground.args("status", "--json"));
  return (JSON.parse(stdout) as { vms: VmAnswer[] }).vms;
}

describe("a file full of bad sockets", () => {
  it("is no reason to end: each VM is marked with one sentence, and the good one gets its card", async () => {
    await onGround(
      { cards: [hostCard, readyCard], vms: [{ name: "build", ports: [{ id: "rp0" }] }] },
      async (ground) => {
        const names = Object.keys(peers);
        const socketOf = (name: string) => join(ground.dir, `${name}.sock`);
        await using _peers = await serveAll(socketOf);
        ground.write("this is a plain file\n", "file.sock");
        ground.write(
          fileFor(
            [
              ["build", ground.sim.socketOf("build")],
              ...[...names, "file", "absent", "nowhere/absent"].map(
                (name) => [name.replace("/", "-"), socketOf(name)] as const,
              ),
            ],
            [
              ["gpu", `{ address: "${readyCard.address}" }`, "build"],
              ["ghost", '{ address: "0000:fe:1f.7" }', "build"],
              ["for-silent", `{ address: "${hostCard.address}" }`, "silent"],
            ],
          ),
        );
        const before = ground.snapshot("host/sys");
        const agent = await ground.readyAgent();
        expect(agent.stdout).toMatch(/^Ready: 8 VMs \(1 up, 3 absent, 4 unreachable\), /);
        await agent.until(/"message":"Rule ghost matches no device of this host/, "stderr");
        await agent.until(/"message":"Vm changed: build .*"attached":\["0000:41:00\.0"\]/, "stderr");

        for (const vm of await vmsOf(ground)) {
          const [state, reason] = expected[vm.name] ?? ["up", /^$/];
          expect([vm.name, vm.state, vm.reason ?? ""]).toEqual([
            vm.name,
            state,
            expect.stringMatching(reason),
          ]);
        }
        const plan = await runProgram(ground.args("plan"));
        expect(plan.code).toBe(2);
        expect(plan.stdout).toMatch(/0000:01:00\.0 +silent +for-silent +silent cannot be spoken to: /);
        expect(plan.stdout).toMatch(/Rules that match nothing on this host: ghost$/m);
        expect((await agent.end("SIGTERM")).code).toBe(0);
        expect(ground.snapshot("host/sys")).toEqual(before);
      },
    );
  });

  it("heals: a socket that comes to be is connected to without a restart", async () => {
    await onGround({ cards: [readyCard] }, async (ground) => {
      ground.writeUsual("late");
      const agent = await ground.readyAgent();
      expect(agent.stdout).toMatch(/^Ready: 1 VM \(1 absent\)/);
      await ground.sim.addVm({ name: "late", ports: [{ id: "rp0" }] });
      await agent.until(/"message":"Vm changed: late is running".*"attached":\["0000:41:00\.0"\]/, "stderr");
      expect(ground.sim.vm("late").attached()).toEqual([readyCard.address]);
      expect((await agent.end("SIGTERM")).code).toBe(0);
    });
  });
});
