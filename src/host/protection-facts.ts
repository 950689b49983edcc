/**
 * Gathers what the host stands on, from PID 1's mount and network namespaces (semantics.md 8): the agent's own,
 * hardened view lacks mounts. Cheap enough for every look; reads nothing that can block (facts.md 5).
 */
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { type Protection, type ProtectionFacts, protect } from "../core/protection.js";
import type { Selector } from "../core/selector.js";
import { gatherConsole } from "./protection-console.js";
import { HostNetwork } from "./protection-network.js";
import { ProtectionNotes } from "./protection-notes.js";
import { gatherOpeners } from "./protection-openers.js";
import { HostStorage } from "./protection-storage.js";
import type { HostRoot } from "./root.js";

/** What is protected beside what the host shows by itself. */
export interface Stake {
  /** Folders of the agent, as paths of the host: no override lifts what they lie on. */
  readonly folders?: readonly string[];
  /** What the operator lists as needed by the host. */
  readonly operator?: readonly Selector[];
}

/** Devices that the host needs, and why, as of now. */
export async function readProtections(
  root: HostRoot,
  devices: readonly Device[],
  stake: Stake = {},
): Promise<ReadonlyMap<PciAddress, Protection>> {
  const facts = await gatherProtectionFacts(root, stake.folders);
  return protect(devices, facts, { operator: stake.operator ?? [] });
}

/** What the host stands on, as far as it can be told; plain JSON, so that a recording can carry it. */
export async function gatherProtectionFacts(
  root: HostRoot,
  folders: readonly string[] = [],
): Promise<ProtectionFacts> {
  const notes = new ProtectionNotes();
  const network = new HostNetwork(root, notes);
  const storage = new HostStorage(root, notes, network);
  storage.gather(folders);
  await gatherOpeners(root, notes, storage.blocks);
  network.gather();
  const isConsoleOnScreen = gatherConsole(root, notes);
  return notes.facts(network.withInterface, isConsoleOnScreen);
}
