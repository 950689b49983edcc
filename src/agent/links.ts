/** One link per VM of the file, and the hands that the steps use on it. */
import { join } from "node:path";
import type { Observable } from "rxjs";
import type { Policy } from "../core/policy.js";
import type { Signal } from "../core/signal.js";
import { findSocketOwner } from "../host/process.js";
import type { HostRoot } from "../host/root.js";
import { linkVm } from "../qemu/link.js";
import { openWireRecording } from "../qmp/recording.js";
import type { ProcessEdge } from "./main.js";
import type { AgentOptions } from "./options.js";
import type { VmHands } from "./tools.js";

interface LinkParts {
  readonly options: AgentOptions;
  readonly edge: ProcessEdge;
  readonly root: HostRoot;
  readonly policy: Policy;
}

export interface Links {
  readonly statuses: readonly Observable<Signal>[];
  readonly byName: ReadonlyMap<string, VmHands>;
}

/** Makes the links; they connect when their statuses are subscribed to. */
export function openLinks(parts: LinkParts): Links {
  const links = parts.policy.vms.map(({ name, qmp }) => {
    const { traceDir } = parts.options;
    const { now } = parts.edge;
    const recording =
      traceDir === null
        ? null
        : openWireRecording(join(traceDir, `${name}-${now()}.jsonl`), {
            nowMs: now,
            note: `${name} at ${qmp}`,
          });
    const link = linkVm({
      name,
      path: qmp,
      findProcess: (path) => findSocketOwner(parts.root, path),
      now,
      ...(recording === null ? {} : { onWire: recording.tap }),
    });
    return { name, link };
  });
  return {
    statuses: links.map(({ link }) => link.status$),
    byName: new Map(links.map(({ name, link }) => [name, link])),
  };
}
