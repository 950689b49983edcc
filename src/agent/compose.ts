/**
 * Puts the rooms together: state from disk, sources, links, hands, audit, the operator's socket. No decisions.
 */
import { join } from "node:path";
import { distinctUntilChanged, map, type Observable, switchMap } from "rxjs";
import { createLog, isLogLevel, type Log } from "../audit/log.js";
import type { AuditEntry } from "../audit/record.js";
import { openAudit } from "../audit/sink.js";
import type { ControlSource } from "../control/routes.js";
import { serveControl } from "../control/server.js";
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { explain } from "../core/explain.js";
import { isInUse, vmsWithNewsToCome } from "../core/news.js";
import { planAll } from "../core/plan.js";
import type { Policy } from "../core/policy.js";
import { type DmaSafety, type ProtectionFacts, protect } from "../core/protection.js";
import { type AgentFacts, reportPlan, reportStatus } from "../core/report.js";
import { type Scene, SceneCache } from "../core/scene.js";
import type { Signal } from "../core/signal.js";
import { wishesOf } from "../core/wishes.js";
import { readDmaSafety } from "../host/dma-facts.js";
import { readBootId } from "../host/identity.js";
import type { KernelIo } from "../host/kernel-io.js";
import { rereadProcess } from "../host/process.js";
import { readProtections } from "../host/protection-facts.js";
import type { HostRoot } from "../host/root.js";
import { createScanner } from "../host/scan.js";
import type { StateFolder } from "../host/state-folder.js";
import { type HostWake, type HostWatchDeps, watchHost } from "../host/watch.js";
import { Agent } from "./agent.js";
import { Chronicle } from "./chronicle.js";
import { HostEye, type HostLook } from "./host-eye.js";
import { createHostHands } from "./host-hands.js";
import { LeaseBook } from "./lease-book.js";
import { LimitWatch } from "./limit-watch.js";
import { Links } from "./links.js";
import type { ProcessEdge } from "./main.js";
import { type Memory, openMemory } from "./memory.js";
import type { AgentOptions } from "./options.js";
import { fileTouches, PolicyFile, type PolicySource, unchangingSource } from "./policy-file.js";
import { reportReload } from "./reload-report.js";
import type { HostHands } from "./tools.js";

export interface Ingredients {
  readonly options: AgentOptions;
  readonly edge: ProcessEdge;
  readonly root: HostRoot;
  readonly io: KernelIo;
  readonly folder: StateFolder;
  /** The policy to begin with. */
  readonly policy: Policy;
  /** Where it comes from, and others after it; without it, it stays. */
  readonly file?: PolicySource;
  readonly onError: (error: unknown) => void;
  /** Hears every line of the audit as it is written. */
  readonly onEntry?: (entry: AuditEntry) => void;
  /** What a recorded host stands on and how it keeps devices apart, in place of what can be read below the root. */
  readonly recorded?: Recorded;
}

/** What is known of a recorded host beside its devices, and what is not. */
interface Recorded {
  readonly protectionFacts: ProtectionFacts;
  readonly dma: DmaSafety;
  /** The device with what was recorded of it, and without what was not: a simulation has to make that up. */
  readonly show: (device: Device) => Device;
  /** Whether anybody has said what host driver a device has, if any. */
  readonly isDriverKnown: (address: PciAddress) => boolean;
}

export interface Composition {
  readonly agent: Agent;
  readonly log: Log;
  /** Posts what is known, looks at the host for the first time, opens the sources and the operator's socket. */
  readonly start: () => Promise<void>;
  /** Looks at the host, beginning now; resolves when the agent's world shows it. */
  readonly look: () => Promise<void>;
  /** Begins no new step; resolves when the running ones have ended and everything is on disk. */
  readonly stop: () => Promise<void>;
  /** Lets go of what is still open. */
  readonly abandon: () => void;
}

/** Makes the agent. Nothing runs yet, but the ledger's entries of earlier boots have been put aside. */
export async function compose(parts: Ingredients): Promise<Composition> {
  const { edge, options, root, policy } = parts;
  const file = parts.file ?? unchangingSource(options.configPath, policy);
  const { now } = edge;
  const log = openLog(options, edge);
  const audit = await openAudit(join(parts.folder.path, "audit.jsonl"));
  const bootId = await readBootId(root);
  const memory = await openMemory(parts.folder, bootId);
  const scenes = new SceneCache();
  const chronicle = new Chronicle({
    scenes,
    audit,
    log,
    now: edge.wallNow,
    saveIntents: memory.saveIntents,
    onEntry: parts.onEntry ?? (() => undefined),
    onError: parts.onError,
  });
  // A look may ask only later, when the agent is there and has a policy of its own.
  const eye = new HostEye(hostLook(parts, () => agent.world.policy ?? policy));
  const links = new Links(
    {
      ...parts,
      isNeeded: (vm) => isInUse(agent.world, vm),
      warn: (message) => log.warn(message),
    },
    policy,
  );
  const limits = limitWatch(parts, (signals) => agent.post(signals));
  const agent = new Agent({
    scenes,
    now,
    sources: (policies$) => [
      hostWakes(policies$, parts, chronicle.announceWrite),
      links.follow(policies$),
      fileTouches(file.news$, (message) => log.warn(message)),
    ],
    file: new PolicyFile(file.load, now),
    eye,
    tools: (world, post) => ({
      world,
      now,
      eye,
      leases: new LeaseBook(memory, memory.leases, post),
      host: handsOf(parts, chronicle.announceWrite),
      vm: (name) => links.hands(name),
    }),
    announce: chronicle.announceStep,
    onTurn: (turn) => {
      chronicle.onTurn(turn);
      tellWatchers(scenes.of(turn.world), links, limits);
    },
    onError: parts.onError,
  });
  const about = aboutAgent(edge, file.path);
  let closeControl: () => Promise<void> = () => Promise.resolve();
  return {
    agent,
    log,
    start: async () => {
      const mode = options.isObserving ? "observe" : "act";
      chronicle.begin({ ...about, bootId, mode, tornBytes: audit.tornBytes }, memory);
      const first: Signal[] = [
        { kind: "start", atMs: now(), bootId, mode, isDetachConfirmed: options.isDetachConfirmed },
        { kind: "leases-written", leases: memory.leases },
        intentsRead(memory),
        { kind: "policy-loaded", atMs: now(), policy },
        await eye.look("start"),
      ];
      // Before anything is touched: an agent that cannot be asked must not act either.
      const server = await serveControl({
        path: join(parts.folder.path, "control.sock"),
        ...answersOf(agent, scenes, about),
      });
      closeControl = () => server.close();
      agent.start(first);
    },
    look: async () => agent.post([await eye.look("rescan")]),
    stop: async () => {
      limits.stop();
      await Promise.all([agent.stop(), closeControl()]);
      await chronicle.end();
      await log.close();
    },
    abandon: () => agent.abandon(),
  };
}

function limitWatch({ edge, root }: Ingredients, post: (signals: readonly Signal[]) => void): LimitWatch {
  return new LimitWatch({ now: edge.now, reread: (process) => rereadProcess(root, process), post });
}

/** Tells those who look after VMs that do not tell of themselves what is waited for now. */
function tellWatchers(scene: Scene, links: Links, limits: LimitWatch): void {
  const { world } = scene;
  limits.onTurn(scene);
  if (world.policy?.vms.some((vm) => vm.monitor === "shared") === true) {
    links.expectNewsOf(vmsWithNewsToCome(world, planAll(world, scene).held));
  }
}

function intentsRead({ holds, intents, areIntentsLost }: Memory): Signal {
  return { kind: "intents-read", holds, intents, isDamaged: areIntentsLost };
}

function hostLook({ root, folder, edge, io, recorded }: Ingredients, policy: () => Policy): HostLook {
  const scanner = createScanner(root, { io, wishes: () => wishesOf(policy()) });
  return {
    scan: async () => {
      const devices = await scanner.scan();
      return recorded === undefined ? devices : devices.map(recorded.show);
    },
    protections: async (devices) => {
      const operator = policy().protect;
      return recorded === undefined
        ? readProtections(root, devices, { folders: [folder.path], operator })
        : protect(devices, recorded.protectionFacts, { operator });
    },
    dma: () => (recorded === undefined ? readDmaSafety(root) : recorded.dma),
    now: edge.now,
  };
}

function handsOf({ root, io, recorded }: Ingredients, announce: HostWatchDeps["announce"]): HostHands {
  const hands = createHostHands(root, io, announce);
  return recorded === undefined
    ? hands
    : {
        ...hands,
        readOriginal: async (address) =>
          recorded.isDriverKnown(address) ? await hands.readOriginal(address) : null,
      };
}

function openLog(options: AgentOptions, edge: ProcessEdge): Log {
  return createLog({
    level: isLogLevel(options.logLevel) ? options.logLevel : "info",
    stream: edge.errStream,
    isTty: edge.errStream.isTTY === true,
    now: edge.wallNow,
  });
}

function aboutAgent({ version, pid, now, wallNow }: ProcessEdge, file: string): AgentFacts {
  return {
    version,
    pid,
    startedAt: new Date(wallNow()).toISOString(),
    file,
    now,
    wallTimeOf: (ms) => new Date(wallNow() - (now() - ms)).toISOString(),
  };
}

/** What the operator's socket answers: from the newest world, each time. */
function answersOf(agent: Agent, scenes: SceneCache, about: AgentFacts): ControlSource {
  return {
    getStatus: () => reportStatus(agent.world, about, scenes.of(agent.world)),
    getPlan: () => reportPlan(agent.world, "agent", scenes.of(agent.world)),
    getExplanation: (question) => explain(agent.world, question, "agent", scenes.of(agent.world)),
    reload: async ({ confirm }) => {
      const reading = await agent.reload(confirm === true);
      return reportReload(agent.world, reading, scenes.of(agent.world));
    },
  };
}

/** The sources in force: only other settings of theirs begin them anew. */
function hostWakes(
  policies$: Observable<Policy>,
  { root, options }: Ingredients,
  announce: HostWatchDeps["announce"],
): Observable<Signal> {
  return policies$.pipe(
    map((policy) => policy.sources),
    distinctUntilChanged((a, b) => JSON.stringify(a) === JSON.stringify(b)),
    switchMap((settings) => watchHost({ root, settings, announce, isObserving: options.isObserving })),
    map(toSignal),
  );
}

function toSignal(wake: HostWake): Signal {
  return wake.kind === "look"
    ? { kind: "look-wanted", source: wake.source }
    : { kind: "source-changed", name: wake.name, state: wake.state };
}
