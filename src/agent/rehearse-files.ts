/** Reads what a rehearsal is made from: the recorded host, the rules, the events and the rules that those name. */
import { dirname, resolve } from "node:path";
import { err, ok, type Result } from "../base/result.js";
import { loadEvents, type RehearsalEvent } from "../config/events.js";
import type { ConfigIssue } from "../config/issue.js";
import { loadConfig } from "../config/load.js";
import type { Policy } from "../core/policy.js";
import { unionOfWishes, wishesOf } from "../core/wishes.js";
import { lookAtHost, readRecording } from "../host/recording.js";
import { hostRoot } from "../host/root.js";
import type { RehearsalScript } from "./rehearse.js";

/** What the operator has named. */
export interface RehearsalRequest {
  /** A recording or an unpacked sysfs tree; `null`: the host below `rootDir`, as it is now. */
  readonly hostPath: string | null;
  readonly rootDir: string;
  readonly configPath: string;
  /** `null`: nothing happens but the start. */
  readonly eventsPath: string | null;
  readonly isAssumingGroups: boolean;
  /** User besides root who may own the rules. */
  readonly uid: number;
}

type Read<T> = Promise<Result<T, readonly ConfigIssue[]>>;

/** Reads everything before anything is played. @throws {HostError} when the recorded host cannot be read. */
export async function readScript(request: RehearsalRequest): Read<RehearsalScript> {
  const { eventsPath, configPath, uid: trustedUid, isAssumingGroups } = request;
  const config = await loadConfig(configPath, { trustedUid });
  if (!config.ok) {
    return config;
  }
  const events = eventsPath === null ? ok([]) : await loadEvents(eventsPath);
  if (!events.ok) {
    return events;
  }
  const policies = await readPolicies(events.value, dirname(eventsPath ?? "."), trustedUid);
  if (!policies.ok) {
    return policies;
  }
  const wishes = unionOfWishes([config.value.policy, ...policies.value.values()].map(wishesOf));
  const { devices, protectionFacts, dma } =
    request.hostPath === null
      ? await lookAtHost(hostRoot(request.rootDir), { wishes })
      : await readRecording(request.hostPath, wishes);
  return ok({
    devices,
    protectionFacts,
    dma,
    policy: config.value.policy,
    events: events.value,
    policies: policies.value,
    isAssumingGroups,
  });
}

/** Paths in the events file are relative to it. */
async function readPolicies(
  events: readonly RehearsalEvent[],
  folder: string,
  trustedUid: number,
): Read<ReadonlyMap<string, Policy>> {
  const policies = new Map<string, Policy>();
  for (const event of events) {
    if (event.kind === "policy" && !policies.has(event.path)) {
      const loaded = await loadConfig(resolve(folder, event.path), { trustedUid });
      if (!loaded.ok) {
        return err(loaded.error);
      }
      policies.set(event.path, loaded.value.policy);
    }
  }
  return ok(policies);
}
