/**
 * Brace lists: answers about patterns with `{a,b}` without ever multiplying the lists out
 * (forty small lists are a million million patterns; here each node is visited once).
 */

import { acceptsChar, type GlobNode, type GlobToken } from "./glob.js";

/** How one answer grows along a pattern: over a token, and where the alternatives of a list meet again. */
export interface Walker<State> {
  readonly step: (state: State, token: GlobToken) => State;
  readonly join: (states: readonly State[]) => State;
}

/** Carries a state through a pattern from left to right; the cost is that of one `step` per token. */
export function walkNodes<State>(nodes: readonly GlobNode[], start: State, walker: Walker<State>): State {
  return nodes.reduce<State>(
    (state, node) =>
      node.kind === "list"
        ? walker.join(node.alternatives.map((alternative) => walkNodes(alternative, state, walker)))
        : walker.step(state, node),
    start,
  );
}

/** Every token of a pattern, those inside of lists too, in the order they are written. */
export function tokensOf(nodes: readonly GlobNode[]): readonly GlobToken[] {
  return nodes.flatMap((node) => (node.kind === "list" ? node.alternatives.flatMap(tokensOf) : [node]));
}

/** The places in a text that a part of a pattern may have reached. */
export type Positions = ReadonlySet<number>;

/** Where a token leads from each of these places in the text. */
export function advance(positions: Positions, token: GlobToken, text: readonly string[]): Positions {
  if (token.kind === "star") {
    const first = Math.min(...positions);
    return positions.size === 0
      ? positions
      : new Set(Array.from({ length: text.length - first + 1 }, (_, n) => first + n));
  }
  const reached = new Set<number>();
  for (const at of positions) {
    const char = text[at];
    if (char !== undefined && acceptsChar(token, char)) {
      reached.add(at + 1);
    }
  }
  return reached;
}

/** Whether a pattern with lists matches all of the text. */
export function matchNodes(nodes: readonly GlobNode[], text: readonly string[]): boolean {
  const reached = walkNodes<Positions>(nodes, new Set([0]), {
    step: (positions, token) => advance(positions, token, text),
    join: (branches) => new Set(branches.flatMap((branch) => [...branch])),
  });
  return reached.has(text.length);
}
