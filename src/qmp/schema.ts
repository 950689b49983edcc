/**
 * Holds what this package believes of commands and events against what a QEMU says of itself (query-qmp-schema). Pure.
 *
 * The types are written by hand; their guards say as data what they rely on. QEMU's schema is a graph of numbered types
 * (QMP reference manual, "QMP introspection"): the numbers differ from version to version, the names of members do not.
 */

import { QMP_COMMANDS } from "./commands.js";
import { QMP_EVENTS } from "./events.js";
import type { Guard, Shape } from "./guard.js";
import type { SchemaInfo, SchemaMember } from "./results.js";

/** One place where this package and a QEMU disagree. */
export interface QmpSchemaMismatch {
  /** `device_add bus`, `query-status reply.running`, `RESET guest`. */
  readonly place: string;
  /** One sentence for people. */
  readonly what: string;
}

/**
 * Everything in which the commands and events of this package differ from `schema`; empty when all hold.
 *
 * An argument that QEMU wants and we leave out, a member that we read and QEMU may omit, another type: each is one entry.
 * What QEMU has besides is no mismatch.
 */
export function findSchemaMismatches(schema: readonly SchemaInfo[]): QmpSchemaMismatch[] {
  const comparison = new Comparison(schema);
  for (const [name, { args, reply }] of Object.entries(QMP_COMMANDS)) {
    const command = comparison.find(name, "command");
    if (command !== undefined) {
      comparison.compareArguments(args, command["arg-type"], name);
      comparison.compareValue(reply, command["ret-type"], `${name} reply`);
    }
  }
  for (const [name, data] of Object.entries(QMP_EVENTS)) {
    const event = comparison.find(name, "event");
    if (event !== undefined) {
      comparison.compareValue(data, event["arg-type"], name);
    }
  }
  return comparison.mismatches;
}

/** The commands and events that findSchemaMismatches looks at. */
export function namesInUse(): string[] {
  return [...Object.keys(QMP_COMMANDS), ...Object.keys(QMP_EVENTS)];
}

/**
 * What a QEMU says of one command or event, as sorted lines without its type numbers, so that two versions can be
 * compared line by line: `device_add arguments.bus?: str`. Empty when it has none of that name.
 */
export function describeSchemaEntity(schema: readonly SchemaInfo[], name: string): string[] {
  const types = new Map(schema.map((entity) => [entity.name, entity]));
  const entity = types.get(name);
  if (entity === undefined) {
    return [];
  }
  const argumentsOrData = entity["meta-type"] === "event" ? "data" : "arguments";
  return [
    ...(entity.features ?? []).map((feature) => `${name} feature: ${feature}`),
    ...linesOf(types, entity["arg-type"], `${name} ${argumentsOrData}`, []),
    ...linesOf(types, entity["ret-type"], `${name} reply`, []),
  ].sort();
}

type Types = ReadonlyMap<string, SchemaInfo>;

/** `above`: the types this one is part of, because trees such as query-pci contain themselves. */
function linesOf(
  types: Types,
  typeName: string | undefined,
  place: string,
  above: readonly string[],
): string[] {
  const type = types.get(typeName ?? "");
  if (type === undefined) {
    return [];
  }
  if (above.includes(type.name)) {
    return [`${place}: as above`];
  }
  const within = [...above, type.name];
  switch (type["meta-type"]) {
    case "array":
      return linesOf(types, type["element-type"], `${place}[]`, within);
    case "object":
      return [...(type.members ?? []), ...variantMembers(types, type)].flatMap((member) =>
        linesOf(types, member.type, `${place}.${member.name}${isOptional(member) ? "?" : ""}`, within),
      );
    case "enum":
      return (type.members ?? []).map((member) => `${place}: "${member.name}"`);
    default:
      return [`${place}: ${type["json-type"] ?? type["meta-type"]}`];
  }
}

/** Members that an object has in some cases only, hence optional. */
function variantMembers(types: Types, type: SchemaInfo | undefined): SchemaMember[] {
  return (type?.variants ?? []).flatMap((variant) =>
    (types.get(variant.type)?.members ?? []).map((member) => ({ ...member, default: null })),
  );
}

function isOptional(member: SchemaMember): boolean {
  return member.default !== undefined;
}

class Comparison {
  readonly mismatches: QmpSchemaMismatch[] = [];
  readonly #types: Types;
  readonly #seen = new Set<string>();

  constructor(schema: readonly SchemaInfo[]) {
    this.#types = new Map(schema.map((entity) => [entity.name, entity]));
  }

  find(name: string, metaType: "command" | "event"): SchemaInfo | undefined {
    const entity = this.#types.get(name);
    if (entity?.["meta-type"] !== metaType) {
      this.#note(name, `QEMU has no ${metaType} of this name`);
      return undefined;
    }
    return entity;
  }

  /** What we give must be understood, and nothing that must be given may be missing. */
  compareArguments(args: Guard<object>, typeName: string | undefined, name: string): void {
    const theirs = this.#types.get(typeName ?? "")?.members ?? [];
    const shape = args.shape();
    const ours = new Map(shape.kind === "object" ? shape.members : []);
    for (const [member, guard] of ours) {
      const its = theirs.find((candidate) => candidate.name === member);
      if (its === undefined) {
        this.#note(`${name} ${member}`, "QEMU knows no such argument");
        continue;
      }
      this.compareValue(withoutOptional(guard), its.type, `${name} ${member}`);
    }
    for (const its of theirs) {
      const guard = ours.get(its.name ?? "");
      if (!isOptional(its) && (guard === undefined || guard.shape().kind === "optional")) {
        this.#note(`${name} ${its.name}`, "QEMU demands this argument, our type leaves it out or optional");
      }
    }
  }

  /** What we read must be there, and of the kind we take it for. */
  compareValue(guard: Guard<unknown>, typeName: string | undefined, place: string): void {
    const type = this.#types.get(typeName ?? "");
    const shape = guard.shape();
    if (shape.kind === "anything" || this.#isAnyValue(type)) {
      return;
    }
    if (!kindsOf(shape).includes(kindOf(type))) {
      this.#note(place, `we take it for ${kindsOf(shape).join(" or ")}, QEMU says ${kindOf(type)}`);
      return;
    }
    if (shape.kind === "list") {
      this.compareValue(shape.of, type?.["element-type"], `${place}[]`);
    } else if (shape.kind === "object") {
      this.#compareMembers(shape.members, type, place);
    }
  }

  #compareMembers(
    ours: readonly (readonly [string, Guard<unknown>])[],
    type: SchemaInfo | undefined,
    place: string,
  ): void {
    // A tree contains its own guard, as QEMU's type does: one look at each pair of them suffices.
    const pair = `${type?.name} ${ours.map(([name]) => name).join(" ")}`;
    if (this.#seen.has(pair)) {
      return;
    }
    this.#seen.add(pair);
    for (const [name, guard] of ours) {
      const its = type?.members?.find((member) => member.name === name);
      const isFound =
        its !== undefined || variantMembers(this.#types, type).some((each) => each.name === name);
      if (!isFound) {
        this.#note(`${place}.${name}`, "we read it, QEMU has no such member");
      } else if ((its === undefined || isOptional(its)) && guard.shape().kind !== "optional") {
        this.#note(`${place}.${name}`, "we rely on it, QEMU may leave it out");
      } else if (its !== undefined) {
        // Members of one name may differ from variant to variant: of those only the presence is compared.
        this.compareValue(withoutOptional(guard), its.type, `${place}.${name}`);
      }
    }
  }

  #isAnyValue(type: SchemaInfo | undefined): boolean {
    return type?.["json-type"] === "value";
  }

  #note(place: string, what: string): void {
    this.mismatches.push({ place, what });
  }
}

function withoutOptional(guard: Guard<unknown>): Guard<unknown> {
  const shape = guard.shape();
  return shape.kind === "optional" ? shape.of : guard;
}

/** QEMU's words for what a guard accepts. */
function kindsOf(shape: Shape): readonly string[] {
  switch (shape.kind) {
    case "text":
      return ["string", "enum"];
    case "flag":
      return ["boolean"];
    case "integer":
      return ["int"];
    case "list":
      return ["array"];
    case "record":
    case "object":
      return ["object"];
    case "optional":
      return kindsOf(shape.of.shape());
    case "anything":
      return ["value"];
  }
}

function kindOf(type: SchemaInfo | undefined): string {
  return type === undefined ? "nothing" : (type["json-type"] ?? type["meta-type"]);
}
