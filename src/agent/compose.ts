/**
 * Puts the rooms together: state from disk, sources, links, hands, audit, the operator's socket. No decisions.
 */
import { join } from "node:path";
import { map } from "rxjs";
import { createLog, isLogLevel, type Log } from "../audit/log.js";
import type { AuditEntry } from "../audit/record.js";
import { openAudit } from "../audit/sink.js";
import { serveControl } from "../control/server.js";
import { explain } from "../core/explain.js";
import type { Policy } from "../core/policy.js";
import { reportPlan, reportStatus } from "../core/report.js";
import { SceneCache } from "../core/scene.js";
import type { Signal } from "../core/signal.js";
import { NO_WISHES } from "../core/wishes.js";
import { readBootId } from "../host/identity.js";
import type { KernelIo } from "../host/kernel-io.js";
import { readProtections } from "../host/protection-facts.js";
import type { HostRoot } from "../host/root.js";
import { createScanner } from "../host/scan.js";
import type { StateFolder } from "../host/state-folder.js";
import { type HostWake, watchHost } from "../host/watch.js";
import { Agent } from "./agent.js";
import { Chronicle } from "./chronicle.js";
import { HostEye } from "./host-eye.js";
import { createHostHands } from "./host-hands.js";
import { LeaseBook } from "./lease-book.js";
import { openLinks } from "./links.js";
import type { ProcessEdge } from "./main.js";
import { openMemory } from "./memory.js";
import type { AgentOptions } from "./options.js";

export interface Ingredients {
  readonly options: AgentOptions;
  readonly edge: ProcessEdge;
  readonly root: HostRoot;
  readonly io: KernelIo;
  readonly folder: StateFolder;
  readonly policy: Policy;
  readonly onError: (error: unknown) => void;
  /** Hears every line of the audit as it is written. */
  readonly onEntry?: (entry: AuditEntry) => void;
}

export interface Composition {
  readonly agent: Agent;
  readonly log: Log;
  /** Posts what is known, looks at the host for the first time, opens the sources and the operator's socket. */
  readonly start: () => Promise<void>;
  /** Begins no new step; resolves when the running ones have ended and everything is on disk. */
  readonly stop: () => Promise<void>;
  /** Lets go of what is still open. */
  readonly abandon: () => void;
}

/** Makes the agent. Nothing runs yet, but the ledger's entries of earlier boots have been put aside. */
export async function compose(parts: Ingredients): Promise<Composition> {
  const { edge, options, root, policy } = parts;
  const { now } = edge;
  const level = isLogLevel(options.logLevel) ? options.logLevel : "info";
  const log = createLog({
    level,
    stream: edge.errStream,
    isTty: edge.errStream.isTTY === true,
    now: edge.wallNow,
  });
  const audit = await openAudit(join(parts.folder.path, "audit.jsonl"));
  const bootId = await readBootId(root);
  const memory = await openMemory(parts.folder, bootId);
  const scenes = new SceneCache();
  const chronicle = new Chronicle({
    scenes,
    audit,
    log,
    now: edge.wallNow,
    saveHolds: memory.saveHolds,
    onEntry: parts.onEntry ?? (() => undefined),
    onError: parts.onError,
  });
  const scanner = createScanner(root, { io: parts.io, wishes: () => NO_WISHES });
  const eye = new HostEye({
    scan: () => scanner.scan(),
    protections: (devices) => Promise.resolve(readProtections(root, devices)),
    dma: () => ({ weaknesses: [] }),
    now,
  });
  const links = openLinks(parts);
  const wakes$ = watchHost({
    root,
    settings: policy.sources,
    announce: chronicle.announceWrite,
    isObserving: options.isObserving,
  });
  const agent = new Agent({
    scenes,
    now,
    sources: [wakes$.pipe(map(toSignal)), ...links.statuses],
    eye,
    tools: (world, post) => ({
      world,
      now,
      eye,
      leases: new LeaseBook(memory, memory.leases, post),
      host: createHostHands(root, parts.io, chronicle.announceWrite),
      vm: (name) => links.byName.get(name),
    }),
    announce: chronicle.announceStep,
    onTurn: chronicle.onTurn,
    onError: parts.onError,
  });
  const about = { version: edge.version, pid: edge.pid, startedAt: new Date(edge.wallNow()).toISOString() };
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
        { kind: "holds-read", holds: memory.holds, isDamaged: memory.areHoldsLost },
        { kind: "policy-loaded", atMs: now(), policy },
        await eye.look("start"),
      ];
      // Before anything is touched: an agent that cannot be asked must not act either.
      const server = await serveControl({
        path: join(parts.folder.path, "control.sock"),
        getStatus: () => reportStatus(agent.world, about, scenes.of(agent.world)),
        getPlan: () => reportPlan(agent.world, "agent", scenes.of(agent.world)),
        getExplanation: (question) => explain(agent.world, question, "agent", scenes.of(agent.world)),
      });
      closeControl = () => server.close();
      agent.start(first);
    },
    stop: async () => {
      await Promise.all([agent.stop(), closeControl()]);
      await chronicle.end();
      await log.close();
    },
    abandon: () => agent.abandon(),
  };
}

function toSignal(wake: HostWake): Signal {
  return wake.kind === "look"
    ? { kind: "look-wanted", source: wake.source }
    : { kind: "source-changed", name: wake.name, state: wake.state };
}
