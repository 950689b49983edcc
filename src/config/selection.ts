/** Selectors of the file, compiled by core, with what core says about them put in its place. */
import type { RawSelector, Selector } from "../core/selector.js";
import type { Complaints, Path } from "./complaints.js";
import type { ConfigFile } from "./schema.js";

type RawRule = ConfigFile["rules"][number];
type Written = NonNullable<RawRule["match"]>;

/** Compiles the selector that stands at a path; `null` when it was refused. */
export function compileAt(written: Written, path: Path, complaints: Complaints): Selector | null {
  return complaints.compile(rawOf(written), (inner) => [...path, ...inner]);
}

/** Compiles one selector or a list of them. Those that were refused are left out. */
export function compileAllAt(
  written: Written | readonly Written[] | undefined,
  path: Path,
  complaints: Complaints,
): readonly Selector[] {
  if (written === undefined) {
    return [];
  }
  const places = isList(written)
    ? written.map((entry, index) => ({ entry, place: [...path, index] }))
    : [{ entry: written, place: path }];
  return places.flatMap(({ entry, place }) => compileAt(entry, place, complaints) ?? []);
}

/** Compiles what a rule selects by: `match`, and `when` wherever it stands. `null` when it was refused. */
export function compileRule(raw: RawRule, path: Path, complaints: Complaints): Selector | null {
  const { match, when } = raw;
  if (match === undefined && when === undefined) {
    complaints.refuse([...path, "match"], "is missing: expected which devices the rule is about");
    return null;
  }
  if (when !== undefined && match?.when !== undefined) {
    complaints.refuseKey([...path, "when"], "is in match already", "keep one of them");
    return null;
  }
  const whole = when === undefined ? rawOf(match ?? {}) : { ...rawOf(match ?? {}), when };
  return complaints.compile(whole, (inner) =>
    when !== undefined && inner[0] === "when" ? [...path, ...inner] : [...path, "match", ...inner],
  );
}

/** zod types keys that are not there as undefined; it leaves them out. */
function rawOf(written: Written): RawSelector {
  return written as RawSelector;
}

function isList(written: Written | readonly Written[]): written is readonly Written[] {
  return Array.isArray(written);
}
