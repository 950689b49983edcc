/**
 * Facts that cost a read of their own, read only where a rule asks for them (semantics.md 3): the serial number, sysfs
 * attributes by name, and what udev's database says.
 *
 * Invariants: a serial or an attribute is read once per appearance, in a child with a deadline, a few children at once
 * and for a few seconds per look at most; what could not be read stays absent and is tried again at later looks, ever
 * more rarely. What has not changed is the same object as before, so that nothing is decided again.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { clearTimeout, setImmediate as nextTurn, setTimeout } from "node:timers";
import type { PciAddress } from "../core/address.js";
import type { Device } from "../core/device.js";
import { isBridge } from "../core/pci-class.js";
import { attributeRefusal } from "../core/sysfs-name.js";
import type { FactWishes } from "../core/wishes.js";
import type { StaticFacts } from "./device-facts.js";
import type { KernelIo } from "./kernel-io.js";
import type { HostRoot } from "./root.js";
import { readSerial } from "./serial.js";

type WishedFacts = Pick<Device, "serial" | "udev" | "attributes">;

/** For one child: these reads answer in microseconds, or hang with the device (facts.md 5). */
const DEADLINE_MS = 1_000;
/** For all children of one look; what is left over is read at the next one. */
const BUDGET_MS = 3_000;
const CHILDREN = 4;
/** After failures in a row: looks that a fact is left alone, so that a hanging device does not collect children. */
const MOST_LOOKS_LEFT_OUT = 64;
/** More than this is no attribute that a pattern could be about (semantics.md 3). */
const ATTRIBUTE_CAP = 4_096;
const UDEV_ENTRY_CAP = 65_536;
/** Devices looked at between two turns of the event loop. */
const SLICE = 64;

/** One fact of one appearance. */
interface Attempt {
  /** `undefined`: not known yet. */
  value: string | null | undefined;
  failures: number;
  looksLeftOut: number;
}

interface UdevEntry {
  readonly stamp: string;
  readonly properties: Readonly<Record<string, string>>;
}

/** What is remembered of one appearance of a device. */
interface Memory {
  readonly appearance: string;
  readonly attempts: Map<string, Attempt>;
  udev: UdevEntry | undefined;
  attributes: Readonly<Record<string, string | null>>;
}

/** The name under which the serial number's attempt is kept: no attribute may be called so. */
const SERIAL = "config";

/** Reads what is wished for, look by look. Looks must not overlap. */
export class WishedFactsReader {
  readonly #root: HostRoot;
  readonly #io: KernelIo;
  #memories: ReadonlyMap<PciAddress, Memory> = new Map();

  constructor(root: HostRoot, io: KernelIo) {
    this.#root = root;
    this.#io = io;
  }

  /** Reads what is wished for and not known yet, and gives what is known of each of these devices. */
  async read(
    devices: readonly StaticFacts[],
    wishes: FactWishes,
  ): Promise<ReadonlyMap<PciAddress, WishedFacts>> {
    const names = wishes.attributes.filter((name) => attributeRefusal(name) === undefined);
    if (!wishes.serial && !wishes.udev && names.length === 0) {
      this.#memories = new Map();
      return new Map();
    }
    const memories = new Map(devices.map((device) => [device.address, this.#memoryOf(device)]));
    this.#memories = memories;
    const jobs = devices.flatMap((device) =>
      this.#jobsFor(device, memories.get(device.address), wishes, names),
    );
    await runSome(jobs);
    const facts = new Map<PciAddress, WishedFacts>();
    for (const [address, memory] of memories) {
      if (facts.size % SLICE === SLICE - 1) {
        await new Promise((resolve) => nextTurn(resolve));
      }
      facts.set(address, {
        ...known("serial", wishes.serial ? memory.attempts.get(SERIAL)?.value : undefined),
        ...known("udev", wishes.udev ? this.#udevOf(address, memory) : undefined),
        ...known("attributes", names.length === 0 ? undefined : attributesOf(memory, names)),
      });
    }
    return facts;
  }

  #memoryOf({ address, appearance }: StaticFacts): Memory {
    const memory = this.#memories.get(address);
    return memory?.appearance === appearance
      ? memory
      : { appearance, attempts: new Map(), udev: undefined, attributes: {} };
  }

  /** The reads that are due for one device. */
  #jobsFor(
    device: StaticFacts,
    memory: Memory | undefined,
    wishes: FactWishes,
    names: readonly string[],
  ): Job[] {
    const { address } = device;
    const reads = new Map(names.map((name) => [name, () => this.#readAttribute(address, name)]));
    if (wishes.serial && (device.class === undefined || !isBridge(device.class))) {
      reads.set(SERIAL, () => readSerial(this.#root, this.#io, address, DEADLINE_MS));
    }
    return memory === undefined
      ? []
      : [...reads].flatMap(([name, read]) => jobIfDue(attemptAt(memory, name), read) ?? []);
  }

  async #readAttribute(address: PciAddress, name: string): Promise<string | null | undefined> {
    const path = this.#root.attribute(address, name);
    if (!existsSync(path)) {
      return null;
    }
    const result = await this.#io.read(path, DEADLINE_MS);
    return result.kind === "done" && result.text.length <= ATTRIBUTE_CAP ? result.text.trim() : undefined;
  }

  /** A device that udev has not finished with has no entry (facts.md 10). */
  #udevOf(address: PciAddress, memory: Memory): Readonly<Record<string, string>> | undefined {
    memory.udev = readUdevEntry(this.#root.udevEntry(address), memory.udev);
    return memory.udev?.properties;
  }
}

type Job = () => Promise<void>;

function attemptAt({ attempts }: Memory, name: string): Attempt {
  const attempt = attempts.get(name) ?? { value: undefined, failures: 0, looksLeftOut: 0 };
  attempts.set(name, attempt);
  return attempt;
}

function jobIfDue(attempt: Attempt, read: () => Promise<string | null | undefined>): Job | undefined {
  if (attempt.value !== undefined) {
    return undefined;
  }
  if (attempt.looksLeftOut > 0) {
    attempt.looksLeftOut -= 1;
    return undefined;
  }
  return async () => {
    attempt.value = await read();
    if (attempt.value === undefined) {
      attempt.failures += 1;
      attempt.looksLeftOut = Math.min(4 ** attempt.failures, MOST_LOOKS_LEFT_OUT);
    }
  };
}

/** Runs the jobs, a few at once, and begins no more when the time is up. */
async function runSome(jobs: readonly Job[]): Promise<void> {
  if (jobs.length === 0) {
    return;
  }
  const budget = { isSpent: false };
  const timer = setTimeout(() => {
    budget.isSpent = true;
  }, BUDGET_MS);
  const queue = jobs.values();
  const work = async (): Promise<void> => {
    // One queue for all workers: each takes the next job that nobody has begun.
    for (let next = queue.next(); next.done !== true && !budget.isSpent; next = queue.next()) {
      await next.value();
    }
  };
  await Promise.all(Array.from({ length: CHILDREN }, work));
  clearTimeout(timer);
}

function attributesOf(memory: Memory, names: readonly string[]): Readonly<Record<string, string | null>> {
  const entries = names.flatMap((name) => {
    const value = memory.attempts.get(name)?.value;
    return value === undefined ? [] : [[name, value] as const];
  });
  const next = Object.fromEntries(entries);
  if (JSON.stringify(next) !== JSON.stringify(memory.attributes)) {
    memory.attributes = next;
  }
  return memory.attributes;
}

function readUdevEntry(path: string, before: UdevEntry | undefined): UdevEntry | undefined {
  try {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    if (stat === undefined || stat.size > UDEV_ENTRY_CAP) {
      return undefined;
    }
    // udevd writes a new file and renames it into place.
    const stamp = `${stat.ino} ${stat.mtimeNs} ${stat.size}`;
    return stamp === before?.stamp
      ? before
      : { stamp, properties: parseUdevEntry(readFileSync(path, "utf8")) };
  } catch {
    return undefined;
  }
}

/** The properties in an entry of the database: lines `E:KEY=value` (systemd: device_update_db). */
function parseUdevEntry(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    text.split("\n").flatMap((line) => {
      const [, key, value] = /^E:([^=]+)=(.*)$/.exec(line) ?? [];
      return key === undefined || value === undefined ? [] : [[key, value] as const];
    }),
  );
}

function known<K extends keyof WishedFacts>(key: K, value: WishedFacts[K] | undefined): Pick<WishedFacts, K> {
  return (value === undefined ? {} : { [key]: value }) as Pick<WishedFacts, K>;
}
