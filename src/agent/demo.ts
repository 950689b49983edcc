/**
 * `pciplug demo`: the main job, acted out on a simulated host. The agent is the real one; only the kernel and QEMU are
 * played. Ends by itself and prints what happened as a person would want to read it.
 */
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { InvariantError } from "../base/error.js";
import { formatIssues, parseConfig } from "../config/load.js";
import { EXIT, type ExitCode } from "../core/exit-code.js";
import type { Policy } from "../core/policy.js";
import { processKey } from "../core/vm.js";
import type { World } from "../core/world.js";
import { hostRoot } from "../host/root.js";
import { openStateFolder } from "../host/state-folder.js";
import { createSimulation, type Simulation } from "../sim/fleet.js";
import { createScratch } from "../sim/scratch.js";
import { type Composition, compose } from "./compose.js";
import { demoCards, demoFile, readAloud, secondGpu } from "./demo-scene.js";
import type { ProcessEdge } from "./main.js";
import { readyLine } from "./ready.js";

/** How long one scene may take before the demonstration gives up. */
const SCENE_LIMIT_MS = 10_000;

type Print = (line: string) => void;

/** Plays all scenes. */
export async function demo(edge: ProcessEdge, print: Print): Promise<ExitCode> {
  await using scratch = await createScratch();
  await using simulation = await createSimulation({
    dir: join(scratch.dir, "host"),
    cards: demoCards,
    vms: [{ name: "build", ports: [{ id: "rp0" }, { id: "rp1" }, { id: "rp2" }] }],
  });
  const folder = await openStateFolder(join(scratch.dir, "state"), scratch.dir);
  const parts = await compose({
    options: {
      version: edge.version,
      configPath: "",
      stateDir: folder.path,
      rootDir: simulation.host.dir,
      isObserving: false,
      isOnce: false,
      isDetachConfirmed: false,
      logLevel: "error",
      traceDir: null,
    },
    edge,
    root: hostRoot(simulation.host.dir),
    io: simulation.host.io,
    folder,
    policy: demoPolicy(simulation),
    onError: (error) => {
      throw error;
    },
    onEntry: (entry) => {
      const line = readAloud(entry);
      if (line !== null) {
        print(`   ${line}`);
      }
    },
  });
  try {
    await play(parts, simulation, print);
    return EXIT.ok;
  } finally {
    await parts.stop();
    parts.abandon();
    folder.close();
  }
}

function demoPolicy(simulation: Simulation): Policy {
  const parsed = parseConfig(demoFile(simulation.socketOf("build")), "demo.yaml");
  if (!parsed.ok) {
    throw new InvariantError(formatIssues(parsed.error));
  }
  return parsed.value.policy;
}

async function play(parts: Composition, simulation: Simulation, print: Print): Promise<void> {
  const { agent } = parts;
  const build = simulation.vm("build");
  print(
    "A host with a GPU and its audio function, a NIC with the default route, and a running VM named build.",
  );
  print("Two rules: every NVIDIA card and every network card goes to build.");

  await scene(parts, print, "The agent starts", parts.start, (world) => attachedIn(world) === 2);
  print(`   ${readyLine(agent.world)}`);

  const plug = () => simulation.host.plug(secondGpu);
  await scene(
    parts,
    print,
    "A second GPU is plugged into the host",
    plug,
    (world) => attachedIn(world) === 3,
  );

  const first = processOf(agent.world);
  const restart = () => build.kill().then(() => build.start());
  const isBack = (world: World) => processOf(world) !== first && attachedIn(world) === 3;
  await scene(parts, print, "The VM's QEMU is killed and started again", restart, isBack);

  const pull = () => simulation.host.pull(secondGpu.address);
  const isGone = (world: World) =>
    attachedIn(world) === 2 && world.leases.size === 2 && world.devices.size === 3;
  await scene(parts, print, "The second GPU is pulled out of the host", pull, isGone);

  print("");
  print(
    "That was the main job. A real agent keeps every line of it in its audit log; see README.md for how to run one.",
  );
}

async function scene(
  parts: Composition,
  print: Print,
  title: string,
  act: () => Promise<void>,
  isOver: (world: World) => boolean,
): Promise<void> {
  print(`\n== ${title}`);
  const { agent } = parts;
  const limit = new AbortController();
  const tooLong = setTimeout(SCENE_LIMIT_MS, "too long" as const, { signal: limit.signal });
  tooLong.catch(() => undefined);
  const end = await Promise.race([act().then(() => agent.until(isOver)), tooLong]);
  limit.abort();
  if (end === "too long") {
    throw new InvariantError(`the scene did not end: ${title}`);
  }
  await agent.settled();
}

function attachedIn(world: World): number {
  const status = world.vms.get("build");
  return status?.kind === "up" ? status.view.attached.length : 0;
}

function processOf(world: World): string | null {
  const status = world.vms.get("build");
  return status?.kind === "up" ? processKey(status.view.process) : null;
}
