/**
 * What a rule says about its devices whatever its mode, and what of it cannot be meant together.
 */
import { parseAddress } from "../core/address.js";
import type { RuleTraits } from "../core/policy.js";
import type { Complaints, Path } from "./complaints.js";
import { presentOf } from "./present.js";
import type { ConfigFile } from "./schema.js";

type RawRule = ConfigFile["rules"][number];

/** What an override must state of its card, beside the serial where it has one (semantics.md 8). */
const IDS_OF_OVERRIDE = ["vendor", "device", "subsystemVendor", "subsystemDevice"] as const;
const EXACT_PATH = /^[0-9a-f]{4,8}:[0-9a-f]{2}(?:\/[0-9a-f]{2}\.[0-7])+$/i;
const PROPERTY_NAME = /^[a-z0-9][a-z0-9_-]*$/;

/** Properties that say which device it is and where it goes: what pciplug decides. */
const OWN_PROPERTIES: Readonly<Record<string, string>> = {
  host: "match says which devices are meant",
  sysfsdev: "match says which devices are meant",
  id: "pciplug finds its devices by their ids, so it gives them",
  driver: "it is always vfio-pci",
  bus: "write port: at the rule",
  addr: "the port decides it",
  multifunction: "write unit: card and plug: card at the rule",
};

/** The traits of a rule. Complains about those that cannot be meant. */
export function traitsOf(raw: RawRule, path: Path, complaints: Complaints): RuleTraits {
  refuseBlindOverride(raw, path, complaints);
  for (const name of Object.keys(raw.device ?? {})) {
    refuseProperty(name, [...path, "device", name], complaints);
  }
  if (raw.plug === "card" && raw.unit === "function") {
    complaints.refuse(
      [...path, "plug"],
      "is for functions that move as one",
      "write unit: card (or unit: iommu-group) too",
    );
  }
  const expect = raw.expect === undefined ? null : presentOf(raw.expect);
  if (expect !== null && Object.keys(expect).length === 0) {
    complaints.refuse([...path, "expect"], "expects nothing", "name an id, such as vendor: 10de");
  }
  return {
    priority: raw.priority,
    unit: raw.unit,
    companions: raw.companions,
    onConflict: raw.onConflict,
    onNoMatch: raw.onNoMatch,
    onRuleGone: raw.onRuleGone,
    whenDown: raw.whenDown,
    preempt: raw.preempt,
    release: raw.release,
    // What is followed must be known: path and serial are learned by pinning.
    isPinned: raw.pin === "learn" || raw.follow !== "address",
    follow: raw.follow,
    expect,
    isOverride: raw.override === "protected",
    takeConfigured: raw.takeConfigured,
    acceptUnsafe: raw.acceptUnsafe,
    port: raw.port ?? null,
    plug: raw.plug,
    acceptNoRoom: raw.acceptNoRoom,
    properties: raw.device ?? {},
  };
}

function refuseBlindOverride(raw: RawRule, path: Path, complaints: Complaints): void {
  if (raw.override === undefined) {
    return;
  }
  const place = [...path, "override"];
  const missing = IDS_OF_OVERRIDE.filter((key) => raw.expect?.[key] === undefined);
  if (!isExact(raw.match?.address, (text) => parseAddress(text) !== undefined) && !hasExactPath(raw)) {
    complaints.refuse(
      place,
      "needs an exact address or path in match: a pattern never takes what the host needs",
      "write the full address of the one device, such as 0000:01:00.0",
    );
  } else if (missing.length > 0) {
    complaints.refuse(
      place,
      `needs expect, so that another card in that place is left alone: ${missing.join(", ")} missing`,
      "lspci -nnv shows the ids; state the serial too if the card has one",
    );
  }
}

/** Whether every path in the rule's match is written out in full. */
export function hasExactPath(raw: RawRule): boolean {
  return isExact(raw.match?.path, (text) => EXACT_PATH.test(text));
}

function isExact(written: string | readonly string[] | undefined, test: (text: string) => boolean): boolean {
  const texts = written === undefined ? [] : [written].flat();
  return texts.length > 0 && texts.every(test);
}

function refuseProperty(name: string, path: Path, complaints: Complaints): void {
  const why = Object.hasOwn(OWN_PROPERTIES, name) ? OWN_PROPERTIES[name] : undefined;
  if (why !== undefined) {
    complaints.refuseKey(path, "is not for a rule to say", why);
  } else if (!PROPERTY_NAME.test(name)) {
    complaints.refuseKey(path, "is not the name of a property: expected small letters, digits, '-' and '_'");
  }
}
