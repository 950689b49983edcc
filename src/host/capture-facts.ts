/**
 * What a host stands on, told without what is somebody's own: the names that people gave to file systems, volumes and
 * pools, and where they are mounted. Kernel names (`nvme0n1`, `dm-0`, `eth0`) stay. Pure.
 */
import type { Carrier, ProtectionFacts } from "../core/protection.js";

/** Carriers whose ids are kernel names or numbers; the others have the name or UUID of a pool or file system. */
const KERNEL_NAMED = /^(block|net|device|mount|share)\//;

/** The same facts, leading to the same devices. `scrub` changes sentences. */
export function publicFacts(facts: ProtectionFacts, scrub: (text: string) => string): ProtectionFacts {
  const ids = new Map(facts.carriers.map(({ id }, at) => [id, publicId(id, at)]));
  const rename = (id: string) => ids.get(id) ?? id;
  return {
    ...facts,
    carriers: facts.carriers.map((carrier) => ({
      ...carrier,
      id: rename(carrier.id),
      label: publicLabel(carrier, rename(carrier.id)),
      on: carrier.on.map(rename),
    })),
    uses: facts.uses.map((use) => ({ ...use, carrier: rename(use.carrier), what: scrub(use.what) })),
    unknown: facts.unknown.map((fact) => ({ ...fact, detail: scrub(fact.detail) })),
  };
}

function publicId(id: string, at: number): string {
  return KERNEL_NAMED.test(id) ? id : `${typeOf(id)}/${at}`;
}

/** A volume of LVM goes by the name that somebody gave it, a pool by its own. */
function publicLabel({ id, label }: Carrier, newId: string): string {
  if (!KERNEL_NAMED.test(id)) {
    return typeOf(id);
  }
  return typeOf(id) === "block" ? newId.slice("block/".length) : label;
}

function typeOf(id: string): string {
  return id.split("/")[0] ?? "";
}

/** Folders that every Linux host has (hier(7)), so that they tell nothing; the longest match counts. */
const WELL_KNOWN = new Set([
  ...["/", "/boot", "/boot/efi", "/dev", "/efi", "/etc", "/home", "/media", "/mnt", "/nix", "/nix/store"],
  ...["/opt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/usr", "/var", "/var/lib", "/var/log"],
  ...["/var/lib/pciplug", "/var/log/pciplug", "/var/tmp", "/proc/swaps"],
  ...["/proc/1/mountinfo", "/proc/1/net/route"],
]);
/** A path within a sentence: it begins after a blank, a quote or a bracket. */
const PATH = /(?<![\w./:-])\/[^\s'",;)]*/g;
const UUID = /\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi;

/** The sentence with paths shortened to what every host has, and without UUIDs. */
export function withoutPrivatePaths(text: string, mountPoints: readonly string[]): string {
  // Mount points may have blanks in them, where a path within a sentence would seem to end.
  const own = mountPoints.filter((path) => shortened(path) !== path).sort((a, b) => b.length - a.length);
  return own
    .reduce((rest, path) => rest.replaceAll(path, shortened(path)), text)
    .replace(PATH, shortened)
    .replace(UUID, "...");
}

/** `/srv/customers/acme` becomes `/srv/...`. */
function shortened(path: string): string {
  if (WELL_KNOWN.has(path) || path.endsWith("/...")) {
    return path;
  }
  const segments = path.split("/");
  for (let length = segments.length - 1; length > 1; length -= 1) {
    const folder = segments.slice(0, length).join("/");
    if (WELL_KNOWN.has(folder)) {
      return `${folder}/...`;
    }
  }
  return "/...";
}
