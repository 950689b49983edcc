import type { Port } from "../../src/core/vm.js";

/** Ports as the lines of KNOWN_MACHINES. */
export function portLines(ports: readonly Port[]): string[] {
  return ports.map(({ bus, addr, mode, state }) => `${bus} ${addr} ${mode} ${describe(state)}`);
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
