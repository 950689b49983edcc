/** The world together with what was decided from it: what every part of a plan reads. */
import type { PciAddress } from "./address.js";
import { type Assignment, assign } from "./assign.js";
import type { Held } from "./held.js";
import { type Occupant, occupants } from "./occupancy.js";
import type { Step } from "./step.js";
import type { World } from "./world.js";

export interface Scene {
  readonly world: World;
  readonly assignment: Assignment;
  readonly taken: ReadonlyMap<PciAddress, Occupant>;
}

/** Decides once, so that all lanes of one turn plan from the same decision. */
export function setScene(world: World): Scene {
  return { world, assignment: assign(world), taken: occupants(world) };
}

/** One thing to do, or one reason not to. */
export type Move = { readonly step: Step } | { readonly held: Held };
