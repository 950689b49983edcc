/**
 * The world in parts that have nothing to do with each other: what becomes of the devices of one island depends on
 * nothing on another one. Cut coarsely on purpose, never within a bus: a few dozen islands are quicker than thousands.
 */
import type { PciAddress } from "./address.js";
import { inAddressOrder } from "./address-order.js";
import type { Device } from "./device.js";
import type { Findings } from "./findings.js";
import type { Policy } from "./policy.js";
import { type RankedRule, rankRules } from "./ranking.js";
import { type Knot, Ties } from "./ties.js";
import type { World } from "./world.js";

export interface Island {
  /** In address order. */
  readonly addresses: readonly PciAddress[];
  /** Rules of this island alone, whether or not they match something. Rules that tie nothing are at home anywhere. */
  readonly rules: readonly RankedRule[];
}

/** A device and what ties it. */
interface Tied {
  readonly device: Device;
  readonly knots: readonly Knot[];
}

/** Islands of one world after the other. An island that has kept its devices and its rules stays the same object. */
export class Islands {
  #policy: Policy | null = null;
  #pins: World["intents"]["pins"] = [];
  #ties = new Ties({ rules: [] }, []);
  #tied: readonly Tied[] = [];
  #islands: readonly Island[] = [];

  /** `findings`: those of the same world. */
  of({ policy, devices, intents }: Pick<World, "policy" | "devices" | "intents">, findings: Findings) {
    const isNew = this.#policy !== policy || this.#pins !== intents.pins;
    if (isNew) {
      this.#ties = new Ties(policy ?? { rules: [] }, intents.pins);
    }
    const before = isNew ? [] : this.#tied;
    const tied = Array.from(inAddressOrder(devices), ([, device], index): Tied => {
      const known = before[index];
      return known?.device === device
        ? known
        : { device, knots: this.#ties.knotsOf(device, findings.get(device.address)) };
    });
    const isUncut =
      isNew || tied.length !== before.length || !tied.every((now, i) => isTiedAs(now, before[i]));
    if (isUncut) {
      const known = new Map(isNew ? [] : this.#islands.map((island) => [nameOf(island), island]));
      this.#islands = cut(tied, this.#ties, policy === null ? [] : rankRules(policy)).map((island) => {
        const old = known.get(nameOf(island));
        return old !== undefined && isSameIsland(old, island) ? old : island;
      });
    }
    this.#policy = policy;
    this.#pins = intents.pins;
    this.#tied = tied;
    return this.#islands;
  }
}

function isTiedAs(now: Tied, before: Tied | undefined): boolean {
  return (
    now === before || (now.device.address === before?.device.address && isSameList(now.knots, before.knots))
  );
}

function isSameIsland(a: Island, b: Island): boolean {
  const isSameRule = ({ rule }: RankedRule, index: number) => rule === b.rules[index]?.rule;
  return (
    isSameList(a.addresses, b.addresses) && a.rules.length === b.rules.length && a.rules.every(isSameRule)
  );
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((entry, index) => entry === b[index]);
}

/** No two islands have it: their first device, or else their first rule. */
function nameOf({ addresses, rules }: Island): string {
  return addresses[0] ?? rules[0]?.rule.name ?? "";
}

function cut(tied: readonly Tied[], ties: Ties, ranked: readonly RankedRule[]): readonly Island[] {
  const forest = new Forest();
  for (const [rule, other] of ties.between) {
    forest.join(rule, other);
  }
  for (const { knots } of tied) {
    const [first = "", ...others] = knots;
    for (const knot of others) {
      forest.join(first, knot);
    }
  }
  const islands = new Map<Knot, { addresses: PciAddress[]; rules: RankedRule[] }>();
  const islandOf = (knot: Knot) => {
    const root = forest.rootOf(knot);
    const island = islands.get(root) ?? { addresses: [], rules: [] };
    islands.set(root, island);
    return island;
  };
  for (const { device, knots } of tied) {
    islandOf(knots[0] ?? "").addresses.push(device.address);
  }
  for (const entry of ranked.filter(({ rule }) => ties.isTying(rule))) {
    islandOf(entry.rule).rules.push(entry);
  }
  return [...islands.values()];
}

/** Sets of knots that are joined by and by. */
class Forest {
  readonly #above = new Map<Knot, Knot>();

  rootOf(knot: Knot): Knot {
    const above = this.#above.get(knot);
    if (above === undefined) {
      return knot;
    }
    const root = this.rootOf(above);
    this.#above.set(knot, root);
    return root;
  }

  join(a: Knot, b: Knot): void {
    const [above, below] = [this.rootOf(a), this.rootOf(b)];
    if (above !== below) {
      this.#above.set(below, above);
    }
  }
}
