import { formatSize } from "../../src/core/memory-size.js";
import type { Port } from "../../src/core/vm.js";

/** Ports as the lines of KNOWN_MACHINES: reserves only where they were given. */
export function portLines(ports: readonly Port[]): string[] {
  return ports.map((port) =>
    [port.bus, port.addr, port.mode, describe(port.state), ...reserves(port)].join(" "),
  );
}

function reserves({ reserve }: Port): string[] {
  const { memory = null, prefetchable = null } = reserve ?? {};
  return [
    ...(memory === null ? [] : [`mem-reserve=${formatSize(memory)}`]),
    ...(prefetchable === null ? [] : [`pref64-reserve=${formatSize(prefetchable)}`]),
  ];
}

function describe(state: Port["state"]): string {
  switch (state.kind) {
    case "free":
      return "free";
    case "plugged":
      return `plugged by ${state.by.join(" ")}`;
    case "unusable":
      return `unusable: ${state.reason}`;
  }
}
