/** How large and how deep a selector may be: far more than anybody writes, far less than could hurt. */
import type { RawSelector, SelectorIssue, SelectorPath } from "./selector.js";

const DEEPEST = 8;
const MOST_NODES = 1000;

interface Node {
  readonly value: unknown;
  readonly path: SelectorPath;
  /** How many selectors and maps it stands in, itself included. */
  readonly depth: number;
}

/** Where a selector grows past its limits, if it does; to be asked before anything else looks into it. */
export function sizeIssueOf(raw: RawSelector): SelectorIssue | undefined {
  const waiting: Node[] = [{ value: raw, path: [], depth: 1 }];
  let nodes = 0;
  for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
    nodes += 1;
    if (nodes > MOST_NODES) {
      return { path: node.path, message: `is more than a selector may hold: ${MOST_NODES} keys and values` };
    }
    if (node.depth > DEEPEST) {
      return { path: node.path, message: `is nested deeper than ${DEEPEST} levels` };
    }
    waiting.push(...childrenOf(node).reverse());
  }
  return undefined;
}

function childrenOf({ value, path, depth }: Node): Node[] {
  if (typeof value !== "object" || value === null) {
    return [];
  }
  const isList = Array.isArray(value);
  return Object.entries(value).map(([key, item]: [string, unknown]) => ({
    value: item,
    path: [...path, isList ? Number(key) : key],
    // A list that stands for a key's value is no level of its own.
    depth: typeof item === "object" && (isList || !Array.isArray(item)) ? depth + 1 : depth,
  }));
}
