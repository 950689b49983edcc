/**
 * For the commands that decide: the running agent's answer where there is one, else a world of what a look at the host
 * (or a recording) shows and the file says. No VM is asked; of the agent's own files its intents are read, where that is
 * allowed.
 */
import type { Command } from "commander";
import { AgentError } from "../base/error.js";
import { formatIssues, loadConfig } from "../config/load.js";
import type { Policy } from "../core/policy.js";
import { wishesOf } from "../core/wishes.js";
import { emptyWorld, type World } from "../core/world.js";
import { HostError } from "../host/error.js";
import { openIntents } from "../host/intents.js";
import { type InventoryOptions, loadInventory, withInventoryOptions } from "./inventory.js";
import { type CliIo, controlSocketOf, DEFAULTS, intentsOf } from "./io.js";

/** How such a command is told which host is meant. */
export interface LookingOptions extends InventoryOptions {
  /** The agent's state folder: no rule takes what it lies on. */
  readonly state?: string;
}

/** The same, with the operator's file. */
export interface OfflineOptions extends LookingOptions {
  readonly config: string;
}

/** The same for commands that ask the agent first. */
export interface AskingOptions extends OfflineOptions {
  readonly state: string;
  readonly offline?: boolean;
}

/** Adds the options of {@link AskingOptions} to a command. */
export function withAskingOptions(command: Command): Command {
  return withInventoryOptions(command)
    .option("-c, --config <file>", "the rules, for when no agent runs", DEFAULTS.config)
    .option("-s, --state <dir>", "the agent's state folder", DEFAULTS.state)
    .option("--offline", "do not ask the agent: look at this host and read the file");
}

/** The agent's answer; `null` where none runs or it is not to be asked. */
export async function askAgent<T>(
  { state, offline, host }: AskingOptions,
  ask: (socketPath: string) => Promise<T>,
): Promise<T | null> {
  if (offline !== true && host === undefined) {
    try {
      return await ask(controlSocketOf(state));
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "control.no-agent")) {
        throw error;
      }
    }
  }
  return null;
}

async function readPolicy(io: CliIo, path: string): Promise<Policy | null> {
  const loaded = await loadConfig(path, { trustedUid: io.uid });
  if (!loaded.ok) {
    io.err(formatIssues(loaded.error));
    return null;
  }
  return loaded.value.policy;
}

/**
 * The world as far as a look at the host shows it. What it cannot show is said on standard error, `caveats` first.
 *
 * @throws {HostError} as `loadInventory`
 */
export async function lookOffline(
  io: CliIo,
  options: LookingOptions,
  policy: Policy,
  caveats: readonly string[] = [],
): Promise<World> {
  const state = options.state ?? DEFAULTS.state;
  const folders = [state];
  const wanted = { wishes: wishesOf(policy), folders, operator: policy.protect };
  const { devices, protections, dma, notes } = await loadInventory({ ...options, ...wanted });
  const remembered = options.host === undefined ? await readMemory(intentsOf(state)) : NOTHING_REMEMBERED;
  for (const note of [...caveats, ...notes, ...remembered.notes]) {
    io.err(note);
  }
  return {
    ...emptyWorld,
    ...remembered.world,
    nowMs: io.now(),
    policy,
    isHostSeen: true,
    devices: new Map(devices.map((device) => [device.address, device])),
    protections,
    dma,
  };
}

/** What the agent keeps for itself of this host, as far as whoever asks may read it. */
interface Remembered {
  readonly world: Partial<Pick<World, "holds" | "intents" | "areIntentsLost">>;
  /** What is to be said of it. */
  readonly notes: readonly string[];
}

const NOTHING_REMEMBERED: Remembered = { world: {}, notes: [] };

/** Pins, reservations, orders and quarantines count without the agent, too; its files are only read. */
async function readMemory(path: string): Promise<Remembered> {
  try {
    const { holds, intents, isDamaged: areIntentsLost } = await openIntents(path).peek();
    return { world: { holds, intents, areIntentsLost }, notes: [] };
  } catch (error) {
    if (error instanceof HostError && error.code === "host.not-permitted") {
      return {
        world: {},
        notes: [`cannot read ${path} as this user: quarantines, reservations and pins are left out`],
      };
    }
    throw error;
  }
}

/** What a command says first that had to do without the agent (semantics.md 10). */
export const UNASKED = "no agent: VM state unknown";

/** Both: the file, and the host in its light; `null` where the file is bad. @throws {HostError} as `loadInventory` */
export async function loadWorld(
  io: CliIo,
  options: OfflineOptions,
  caveats: readonly string[] = [],
): Promise<World | null> {
  const policy = await readPolicy(io, options.config);
  return policy === null ? null : lookOffline(io, options, policy, caveats);
}
