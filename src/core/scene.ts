/** The world together with what was decided from it: what every part of a plan reads. */
import type { PciAddress } from "./address.js";
import { AssignmentCache, assign } from "./assign.js";
import type { Assignment } from "./assignment.js";
import type { Held } from "./held.js";
import { type Occupant, occupants } from "./occupancy.js";
import type { Step } from "./step.js";
import type { World } from "./world.js";

export interface Scene {
  readonly world: World;
  readonly assignment: Assignment;
  readonly taken: ReadonlyMap<PciAddress, Occupant>;
}

/** Sets the scene of one world from scratch. */
export function setScene(world: World, assignment: Assignment = assign(world)): Scene {
  return { world, assignment, taken: occupants(world) };
}

/** Scenes of one world after the other: everybody who asks about the same world gets the same scene. */
export class SceneCache {
  readonly #assignments = new AssignmentCache();
  #scene: Scene | null = null;

  of(world: World): Scene {
    if (this.#scene?.world !== world) {
      this.#scene = setScene(world, this.#assignments.of(world));
    }
    return this.#scene;
  }
}

/** One thing to do, or one reason not to. */
export type Move = { readonly step: Step } | { readonly held: Held };
