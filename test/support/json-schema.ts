/** A reader of JSON Schema for tests: the keywords that zod writes for us, and no other. Not a validator for the world. */

export interface JsonSchema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly allOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly propertyNames?: JsonSchema;
  readonly definitions?: Readonly<Record<string, JsonSchema>>;
  readonly description?: string;
}

const CHECKED = new Set([
  ...[
    "$ref",
    "type",
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "minItems",
    "items",
    "anyOf",
    "allOf",
  ],
  ...["properties", "required", "additionalProperties", "propertyNames"],
]);
const SAYING_NOTHING = new Set(["$schema", "$id", "id", "title", "description", "default", "definitions"]);

/** What the schema has against a value; empty: nothing. @throws for a keyword that this reader does not know. */
export function complaintsOf(value: unknown, schema: JsonSchema, root = schema, path = "$"): string[] {
  const strange = Object.keys(schema).find(
    (keyword) => !CHECKED.has(keyword) && !SAYING_NOTHING.has(keyword),
  );
  if (strange !== undefined) {
    throw new Error(`test/support/json-schema.ts does not know the keyword ${strange}`);
  }
  const referred = schema.$ref === undefined ? [] : [definitionOf(schema.$ref, root)];
  return [
    ...[...referred, ...(schema.allOf ?? [])].flatMap((each) => complaintsOf(value, each, root, path)),
    ...(isOneOf(value, schema, root, path) ? [] : [`${path}: matches no alternative`]),
    ...(isOfType(value, schema) ? [] : [`${path}: expected ${String(schema.type)}`]),
    ...scalarComplaints(value, schema, path),
    ...(Array.isArray(value) ? listComplaints(value, schema, root, path) : []),
    ...(isMap(value) ? mapComplaints(value, schema, root, path) : []),
  ];
}

function definitionOf(reference: string, root: JsonSchema): JsonSchema {
  const found = root.definitions?.[reference.replace("#/definitions/", "")];
  if (found === undefined) {
    throw new Error(`there is no ${reference}`);
  }
  return found;
}

function isOneOf(value: unknown, { anyOf }: JsonSchema, root: JsonSchema, path: string): boolean {
  return anyOf === undefined || anyOf.some((each) => complaintsOf(value, each, root, path).length === 0);
}

function isOfType(value: unknown, { type }: JsonSchema): boolean {
  const actual = Array.isArray(value) ? "array" : typeof value;
  const types = type === undefined ? [actual] : [type].flat();
  return value !== null && (types.includes(actual) || (types.includes("integer") && Number.isInteger(value)));
}

function scalarComplaints(value: unknown, schema: JsonSchema, path: string): string[] {
  const { pattern, minimum = -Infinity, maximum = Infinity } = schema;
  const isWord =
    (schema.enum?.includes(value) ?? true) && (schema.const === undefined || schema.const === value);
  const isText = typeof value !== "string" || pattern === undefined || new RegExp(pattern).test(value);
  const isInRange = typeof value !== "number" || (value >= minimum && value <= maximum);
  return isWord && isText && isInRange
    ? []
    : [`${path}: ${JSON.stringify(value)} is not among the good values`];
}

function listComplaints(
  list: readonly unknown[],
  schema: JsonSchema,
  root: JsonSchema,
  path: string,
): string[] {
  const { items, minItems = 0 } = schema;
  return [
    ...(list.length < minItems ? [`${path}: expected at least ${minItems} items`] : []),
    ...list.flatMap((item, at) =>
      items === undefined ? [] : complaintsOf(item, items, root, `${path}[${at}]`),
    ),
  ];
}

function mapComplaints(
  map: Readonly<Record<string, unknown>>,
  schema: JsonSchema,
  root: JsonSchema,
  path: string,
): string[] {
  const { properties = {}, required = [], additionalProperties = true, propertyNames = {} } = schema;
  const missing = required
    .filter((key) => !Object.hasOwn(map, key))
    .map((key) => `${path}: ${key} is missing`);
  const inside = Object.entries(map).flatMap(([key, value]) => {
    const wanted = Object.hasOwn(properties, key) ? properties[key] : additionalProperties;
    if (typeof wanted === "object") {
      return complaintsOf(value, wanted, root, `${path}.${key}`);
    }
    return wanted === true ? [] : [`${path}: ${key} is not a key`];
  });
  return [
    ...missing,
    ...inside,
    ...Object.keys(map).flatMap((key) => complaintsOf(key, propertyNames, root, path)),
  ];
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
