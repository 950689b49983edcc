/**
 * Rules of mode `select`: how many, which ones rather, and what else would do.
 */
import type { Alternative, Count, Preference, SelectRule } from "../core/policy.js";
import type { Complaints, Path } from "./complaints.js";
import type { ConfigFile } from "./schema.js";
import { compileAt } from "./selection.js";

type RawRule = ConfigFile["rules"][number];
type RawPreference = NonNullable<RawRule["prefer"]>[number];

const ONE: Count = { min: 1, max: 1 };

/** What select says beyond match and traits. Complains about what cannot be meant. */
export function selectionOf(
  index: number,
  file: ConfigFile,
  complaints: Complaints,
): Pick<SelectRule, "alternatives" | "prefer"> {
  const raw = file.rules[index];
  const path = ["rules", index];
  if (raw === undefined) {
    return { alternatives: [], prefer: [] };
  }
  return {
    alternatives: alternativesOf(raw, path, complaints),
    prefer: preferencesOf(raw, index, file, complaints),
  };
}

function alternativesOf(raw: RawRule, path: Path, complaints: Complaints): readonly Alternative[] {
  if (raw.alternatives === undefined) {
    return [{ match: null, count: countOf(raw.count, [...path, "count"], complaints) }];
  }
  if (raw.count !== undefined) {
    complaints.refuseKey(
      [...path, "count"],
      "contradicts alternatives, each of which has a count of its own",
      "move it into the alternatives",
    );
  }
  const list = [...path, "alternatives"];
  if (raw.alternatives.length === 0) {
    complaints.refuse(list, "expected at least one alternative", "leave it out if there is none");
  }
  return raw.alternatives.map((alternative, position) => {
    const place = [...list, position];
    return {
      match:
        alternative.match === undefined
          ? null
          : compileAt(alternative.match, [...place, "match"], complaints),
      count: countOf(alternative.count, [...place, "count"], complaints),
    };
  });
}

function countOf(written: Count | undefined, path: Path, complaints: Complaints): Count {
  const count = written ?? ONE;
  if (count.max === 0) {
    complaints.refuse(path, "takes nothing", "write a larger number, or take the rule out");
  } else if (count.min > count.max) {
    complaints.refuse(path, `asks for at least ${count.min} and at most ${count.max}`, "swap the two");
  }
  return count;
}

function preferencesOf(
  raw: RawRule,
  index: number,
  file: ConfigFile,
  complaints: Complaints,
): readonly Preference[] {
  const list = ["rules", index, "prefer"];
  const preferences = (raw.prefer ?? []).flatMap((written, position) => {
    const preference = preferenceOf(written, [...list, position], complaints);
    return preference === null ? [] : [{ preference, place: [...list, position] }];
  });
  for (const [position, { preference, place }] of preferences.entries()) {
    const before = preferences.slice(0, position).map((entry) => entry.preference);
    if (preference.by === "sameRootAs") {
      refuseLaterRule(preference.rule, index, [...place, "sameRootAs"], file, complaints);
    }
    if (preference.by === "numa" && file.vms.some((vm) => vm.name === raw.vm && vm.numaNode === undefined)) {
      complaints.remark(place, `prefers nothing: the VM ${raw.vm} has no numaNode`, "add numaNode to the VM");
    } else if (before.some((earlier) => earlier.by === "address" || isSame(earlier, preference))) {
      complaints.remark(place, "has no effect: what stands before it leaves nothing to choose");
    }
  }
  return preferences.map(({ preference }) => preference);
}

function preferenceOf(written: RawPreference, path: Path, complaints: Complaints): Preference | null {
  if (typeof written === "string") {
    switch (written) {
      case "numa":
        return { by: "numa" };
      case "address":
        return { by: "address", order: "lowest" };
      case "memory":
        return { by: "memory", order: "largest" };
    }
  }
  const { sameRootAs, address, memory } = written;
  const preferences: Preference[] = [
    ...(sameRootAs === undefined ? [] : [{ by: "sameRootAs", rule: sameRootAs } as const]),
    ...(address === undefined ? [] : [{ by: "address", order: address } as const]),
    ...(memory === undefined ? [] : [{ by: "memory", order: memory } as const]),
  ];
  const [preference] = preferences;
  if (preference === undefined || preferences.length > 1) {
    complaints.refuse(
      path,
      `expected one preference, found ${preferences.length}`,
      "their order counts: write each as an item of its own",
    );
  }
  return preference ?? null;
}

/** A claim can only be near to one that is decided before it: exact ones (batch, group) come first, then by rank. */
function refuseLaterRule(
  written: string,
  index: number,
  path: Path,
  file: ConfigFile,
  complaints: Complaints,
): void {
  const position = file.rules.findIndex((rule) => rule.name === written);
  const [rule, other] = [file.rules[index], file.rules[position]];
  if (rule === undefined || other === undefined) {
    complaints.refuseStray(path, written, {
      noun: "rule",
      names: file.rules.flatMap(({ name }, at) => (at === index ? [] : [name])),
      hint: "name a rule that is there",
    });
  } else if (position === index) {
    complaints.refuse(path, "names the rule itself", "name another rule");
  } else if (other.mode === "select" && !isEarlier(other, position, rule, index)) {
    complaints.refuse(
      path,
      `names the rule ${written}, which is decided later`,
      "write that rule above this one, or give it a higher priority",
    );
  }
}

function isEarlier(other: RawRule, position: number, rule: RawRule, index: number): boolean {
  return other.priority === rule.priority ? position < index : other.priority > rule.priority;
}

function isSame(left: Preference, right: Preference): boolean {
  return (
    left.by === right.by &&
    (left.by !== "sameRootAs" || right.by !== "sameRootAs" || left.rule === right.rule)
  );
}
