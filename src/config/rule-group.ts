/**
 * Rules of mode `group`: how the devices are told apart, and which VM each class goes to.
 */
import type { Classifier, Destination, GroupKey, GroupRule, SpreadTarget } from "../core/policy.js";
import { NONE, UNKNOWN } from "../core/selector-key.js";
import type { Complaints, Path } from "./complaints.js";
import type { ConfigFile } from "./schema.js";
import { compileAt } from "./selection.js";

type RawRule = ConfigFile["rules"][number];

/** What the classes of a fact are called, where not by addresses. */
const DECIMAL = { form: /^(?:0|[1-9]\d{0,8})$/, expected: 'a number, such as "0"' };
const FOUR_DIGITS = { form: /^[0-9a-f]{4}$/i, expected: 'four hex digits, such as "10de"' };
const ADDRESS = {
  form: /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i,
  expected: "a full address, such as 0000:65:00.0",
};
const CLASS_NAMES: Readonly<Record<GroupKey, { readonly form: RegExp; readonly expected: string }>> = {
  address: ADDRESS,
  card: { form: /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]$/i, expected: "a full slot, such as 0000:65:00" },
  class: { form: /^[0-9a-f]{4}$/i, expected: 'four hex digits, such as "0300"' },
  device: FOUR_DIGITS,
  iommuGroup: DECIMAL,
  numaNode: DECIMAL,
  physfn: ADDRESS,
  root: ADDRESS,
  vendor: FOUR_DIGITS,
};
/** Classes of devices whose fact is not known, and of those that have no such fact. */
const WORDS: readonly string[] = [UNKNOWN, NONE];

/** What group says beyond match and traits; `null` where that cannot be made out. */
export function groupingOf(
  raw: RawRule,
  path: Path,
  complaints: Complaints,
): Pick<GroupRule, "classify" | "to"> | null {
  const classify = classifierOf(raw, path, complaints);
  const to = destinationOf(raw, path, complaints);
  return classify === null || to === null ? null : { classify, to };
}

function classifierOf(raw: RawRule, path: Path, complaints: Complaints): Classifier | null {
  const { by, classes } = raw;
  if (by !== undefined && classes !== undefined) {
    complaints.refuseKey(
      [...path, "classes"],
      "contradicts by: one of the two tells the classes apart",
      "keep one of them",
    );
    return null;
  }
  if (classes !== undefined) {
    return namedClasses(classes, [...path, "classes"], complaints);
  }
  if (by === undefined && raw.vms === undefined) {
    complaints.refuse(
      [...path, "by"],
      "is missing: expected what tells the classes apart",
      "write by: numaNode, or name the classes under classes:",
    );
    return null;
  }
  return { kind: "key", key: by ?? "address" };
}

function namedClasses(
  classes: NonNullable<RawRule["classes"]>,
  path: Path,
  complaints: Complaints,
): Classifier | null {
  if (classes.length === 0) {
    complaints.refuse(path, "expected at least one class");
  }
  complaints.refuseRepeated(
    classes.map(({ name }) => name),
    path,
    ["name"],
    "another class has this name",
  );
  const compiled = classes.flatMap(({ name, match }, index) => {
    if (WORDS.includes(name)) {
      complaints.refuse([...path, index, "name"], "is taken: it means devices that are in no class");
    }
    const selector = compileAt(match, [...path, index, "match"], complaints);
    return selector === null ? [] : [{ name, match: selector }];
  });
  return { kind: "named", classes: compiled };
}

function destinationOf(raw: RawRule, path: Path, complaints: Complaints): Destination | null {
  const atClasses = (raw.classes ?? []).flatMap(({ name, vm }) => (vm === undefined ? [] : [{ name, vm }]));
  const said = [
    ...(raw.to === undefined ? [] : ["to"]),
    ...(raw.vms === undefined ? [] : ["vms"]),
    ...(atClasses.length === 0 ? [] : ["classes"]),
  ];
  const [first, second] = said;
  if (second !== undefined) {
    complaints.refuseKey(
      [...path, second],
      `says a second time where the classes go: ${first} does already`,
      "keep one of to, vms, and vm at each class",
    );
    return null;
  }
  if (raw.spread !== undefined && first !== "vms") {
    complaints.refuseKey(
      [...path, "spread"],
      "is only for a list of VMs to spread over",
      "write vms, or leave it out",
    );
  }
  switch (first) {
    case "to":
      return { kind: "map", vms: mapOf(raw, path, complaints) };
    case "vms":
      return spreadOf(raw, path, complaints);
    case "classes":
      return { kind: "map", vms: mapOfClasses(raw, path, complaints) };
    default:
      complaints.refuse(
        [...path, "vms"],
        "is missing: expected where the classes go",
        'write vms: [a, b], or to: {"0": a, "1": b}, or vm: at each class',
      );
      return null;
  }
}

function mapOfClasses(raw: RawRule, path: Path, complaints: Complaints): ReadonlyMap<string, string> {
  const vms = new Map<string, string>();
  for (const [index, { name, vm }] of (raw.classes ?? []).entries()) {
    if (vm === undefined) {
      complaints.refuse(
        [...path, "classes", index],
        "has no VM: the other classes have one",
        "add vm, or take the class out: what no class matches goes nowhere",
      );
    } else {
      vms.set(name, vm);
    }
  }
  return vms;
}

function mapOf(raw: RawRule, path: Path, complaints: Complaints): ReadonlyMap<string, string> {
  const entries = Object.entries(raw.to ?? {});
  if (entries.length === 0) {
    complaints.refuse([...path, "to"], "sends no class anywhere", 'write {"0": a, "1": b}');
  }
  for (const [name] of entries) {
    refuseStrangeClass(name, raw, [...path, "to", name], complaints);
  }
  return new Map(
    entries.map(([name, vm]) => [name.toLowerCase() === name ? name : classNameOf(name, raw), vm]),
  );
}

/** Facts are lower case; the names of classes are as written. */
function classNameOf(name: string, raw: RawRule): string {
  return raw.classes === undefined ? name.toLowerCase() : name;
}

function refuseStrangeClass(name: string, raw: RawRule, path: Path, complaints: Complaints): void {
  if (WORDS.includes(name)) {
    return;
  }
  if (raw.classes !== undefined) {
    complaints.refuseStray(path, name, {
      noun: "class",
      names: raw.classes.map((entry) => entry.name),
      hint: "add it to classes, or name one that is there",
    });
  } else if (raw.by !== undefined && !CLASS_NAMES[raw.by].form.test(name)) {
    complaints.refuseKey(
      path,
      `is no ${raw.by}: expected ${CLASS_NAMES[raw.by].expected}`,
      "for classes with names of your own, write classes instead of by",
    );
  }
}

function spreadOf(raw: RawRule, path: Path, complaints: Complaints): Destination {
  const list = [...path, "vms"];
  const how = raw.spread ?? "round-robin";
  const written = (raw.vms ?? []).map((target) => (typeof target === "string" ? { vm: target } : target));
  if (written.length === 0) {
    complaints.refuse(list, "expected at least one VM");
  }
  complaints.refuseRepeated(
    written.map(({ vm }) => vm),
    list,
    [],
    "this VM is in the list already",
  );
  const targets = written.map((target, index): SpreadTarget => {
    const { vm, weight, max } = { weight: undefined, max: undefined, ...target };
    if (weight !== undefined && how !== "weight") {
      complaints.refuseKey([...list, index, "weight"], `is only for spread: weight, and this is ${how}`);
    }
    return { vm, weight: weight ?? 1, max: max ?? Number.POSITIVE_INFINITY };
  });
  return { kind: "spread", how, targets };
}
