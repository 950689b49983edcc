/**
 * The events file of a rehearsal: a YAML list of what happens to the host and the VMs, one thing after the other.
 *
 * Read like the operator's own file (every scalar is text, complaints carry line and column). Which card or VM an
 * event means is looked up when it is played.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { messageOf } from "../base/error.js";
import { err, ok, type Result } from "../base/result.js";
import { type ConfigDocument, type DocumentNode, readDocument } from "./document.js";
import { type ConfigIssue, type Finding, fileIssue } from "./issue.js";
import { duration, name } from "./scalars.js";
import { keyOf, nodeAt } from "./shape.js";
import { suggest } from "./suggestion.js";

/** One function, or with no function written, every function of the slot: `0000:65:00.0`, `0000:65:00`. */
export type Place = string;

/** What to plug: a copy of a card that is or was there, the very card that was there, or one made up. */
export interface PlugSpec {
  readonly address: Place;
  readonly like?: Place;
  readonly vendor?: string;
  readonly device?: string;
  readonly subsystemVendor?: string;
  readonly subsystemDevice?: string;
  readonly class?: string;
  readonly revision?: string;
  readonly driver?: string;
  readonly serial?: string;
  readonly iommuGroup?: number;
  readonly numaNode?: number;
  readonly parent?: string;
}

type Happening =
  | { readonly kind: "plug"; readonly plug: PlugSpec }
  | { readonly kind: "unplug"; readonly place: Place }
  | { readonly kind: "vm-start" | "vm-stop" | "vm-restart"; readonly vm: string }
  /** The guest ejects the device by itself. */
  | { readonly kind: "eject"; readonly vm: string; readonly address: string }
  /** Another file of rules takes effect; its path as written. */
  | { readonly kind: "policy"; readonly path: string }
  /** Nothing but time passes. */
  | { readonly kind: "wait"; readonly ms: number };

/** One event. `atMs`: when, from the start of the rehearsal; `null`: as soon as the agent has settled. */
export type RehearsalEvent = Happening & { readonly atMs: number | null };

const PLACE = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f](\.[0-7])?$/i;
const FUNCTION = /^[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$/i;
/** Far more than anybody acts out. */
const LARGEST_BYTES = 1024 * 1024;
const LEAST_MS = 1;

/** An address or a slot without its domain: which one is meant is never guessed. */
const SHORT = /^[0-9a-f]{2}:[01][0-9a-f](\.[0-7])?$/i;

const text = (shape: RegExp, error: string) =>
  z
    .string({ error })
    .regex(shape, {
      error: ({ input }) =>
        SHORT.test(String(input)) ? `has no domain: write 0000:${String(input).toLowerCase()}` : error,
    })
    .transform((value) => value.toLowerCase());
const place = text(PLACE, "expected an address such as 0000:65:00.0, or 0000:65:00 for the whole card");
const address = text(FUNCTION, "expected a full address such as 0000:65:00.0");
const id = text(/^[0-9a-f]{4}$/i, "expected four hex digits, in quotes");
const number = z
  .string({ error: "expected a whole number" })
  .regex(/^\d{1,6}$/, { error: "expected a whole number of at most six digits" })
  .transform(Number);
const driver = z
  .string({ error: "expected a driver's name" })
  .regex(/^[A-Za-z0-9_-]{1,64}$/, { error: "expected a driver's name" });

const plugSchema = z.strictObject({
  address: place,
  like: place.optional(),
  vendor: id.optional(),
  device: id.optional(),
  subsystemVendor: id.optional(),
  subsystemDevice: id.optional(),
  class: text(/^[0-9a-f]{6}$/i, "expected six hex digits, in quotes").optional(),
  revision: text(/^[0-9a-f]{2}$/i, "expected two hex digits, in quotes").optional(),
  driver: driver.optional(),
  serial: text(
    /^[0-9a-f]{2}(-[0-9a-f]{2}){7}$/i,
    "expected a serial number such as 00-11-22-ff-ff-33-44-55",
  ).optional(),
  iommuGroup: number.optional(),
  numaNode: number.optional(),
  parent: address.optional(),
});
const plug = z.union([place.transform((at) => ({ address: at })), plugSchema], {
  error: "expected an address, or a map of what to plug",
});

const path = z.string({ error: "expected the path of a file" }).min(1, { error: "expected a path" });
const eject = z.strictObject({ vm: name, address });
const happenings = {
  plug,
  unplug: place,
  "vm-start": name,
  "vm-stop": name,
  "vm-restart": name,
  eject,
  policy: path,
  wait: duration(LEAST_MS),
} as const;
const KINDS = Object.keys(happenings) as readonly (keyof typeof happenings)[];

const eventSchema = z
  .strictObject({ at: duration(0).optional(), ...z.object(happenings).partial().shape })
  .superRefine((event, context) => {
    const named = KINDS.filter((kind) => event[kind] !== undefined);
    if (named.length !== 1) {
      const found = named.length === 0 ? "none" : named.join(" and ");
      context.addIssue({ code: "custom", message: `expected exactly one of ${KINDS.join(", ")}: ${found}` });
    }
  });
const fileSchema = z.array(eventSchema, { error: "expected a list of events" });

type RawEvent = z.infer<typeof eventSchema>;

/** Reads the events file. Whoever may name it may also write it: nothing is asked about its owner. */
export async function loadEvents(
  file: string,
): Promise<Result<readonly RehearsalEvent[], readonly ConfigIssue[]>> {
  try {
    const bytes = await readFile(file);
    return bytes.length > LARGEST_BYTES
      ? err([fileIssue(file, `is larger than ${LARGEST_BYTES} bytes`)])
      : parseEvents(new TextDecoder("utf-8", { fatal: true }).decode(bytes), file);
  } catch (error) {
    return err([fileIssue(file, whyUnread(error))]);
  }
}

function whyUnread(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return "is not there: expected a YAML list of events";
    case "EISDIR":
      return "is a folder: expected a YAML list of events";
    case "EACCES":
    case "EPERM":
      return "may not be read by this user";
    case "ERR_ENCODING_INVALID_ENCODED_DATA":
      return "is not UTF-8 text";
    default:
      return `cannot be read: ${messageOf(error)}`;
  }
}

/** Checks the text of the events file called `file`. Pure. */
export function parseEvents(
  written: string,
  file: string,
): Result<readonly RehearsalEvent[], readonly ConfigIssue[]> {
  if (written.split("\n").every((line) => line.trim() === "" || line.trimStart().startsWith("#"))) {
    return ok([]);
  }
  const document = readDocument(written, file);
  if (!document.ok) {
    return document;
  }
  const parsed = fileSchema.safeParse(plainOf(document.value.root));
  if (!parsed.success) {
    const findings = parsed.error.issues.flatMap((issue) => findingsOf(issue, [], document.value));
    return err(document.value.source.issues(findings));
  }
  const events = parsed.data.map(eventOf);
  const late = outOfOrder(events, document.value);
  return late === null ? ok(events) : err(document.value.source.issues([late]));
}

function eventOf(raw: RawEvent): RehearsalEvent {
  return { ...happeningOf(raw), atMs: raw.at ?? null };
}

function happeningOf(raw: RawEvent): Happening {
  if (raw.plug !== undefined) {
    return { kind: "plug", plug: withoutUndefined(raw.plug) };
  }
  if (raw.unplug !== undefined) {
    return { kind: "unplug", place: raw.unplug };
  }
  if (raw.eject !== undefined) {
    return { kind: "eject", ...raw.eject };
  }
  if (raw.policy !== undefined) {
    return { kind: "policy", path: raw.policy };
  }
  for (const kind of ["vm-start", "vm-stop", "vm-restart"] as const) {
    const vm = raw[kind];
    if (vm !== undefined) {
      return { kind, vm };
    }
  }
  return { kind: "wait", ms: raw.wait ?? 0 };
}

function withoutUndefined(spec: NonNullable<RawEvent["plug"]>): PlugSpec {
  return Object.fromEntries(
    Object.entries(spec).filter(([, value]) => value !== undefined),
  ) as unknown as PlugSpec;
}

/** Time goes forward: an event cannot be earlier than one above it. */
function outOfOrder(events: readonly RehearsalEvent[], document: ConfigDocument): Finding | null {
  let latest = 0;
  for (const [index, { atMs }] of events.entries()) {
    if (atMs !== null && atMs < latest) {
      const where = [index, "at"];
      const { offset } = nodeAt(document.root, where);
      return { offset, key: keyOf(where), message: "is earlier than an event above it" };
    }
    latest = atMs ?? latest;
  }
  return null;
}

function plainOf(node: DocumentNode): unknown {
  switch (node.kind) {
    case "text":
      return node.text;
    case "list":
      return node.items.map(plainOf);
    case "map":
      return Object.fromEntries(node.entries.map(({ key, value }) => [key, plainOf(value)]));
  }
}

function findingsOf(
  issue: z.core.$ZodIssue,
  above: readonly PropertyKey[],
  document: ConfigDocument,
): readonly Finding[] {
  const where = [...above, ...issue.path];
  const node = nodeAt(document.root, where);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => unknownKey(key, where, node));
  }
  if (issue.code === "invalid_union") {
    // One alternative is a text, the other a map: what was written says which of them was meant.
    const meant = issue.errors.at(node.kind === "map" ? -1 : 0) ?? [];
    if (node.kind !== "list" && meant.length > 0) {
      return meant.flatMap((nested) => findingsOf(nested, where, document));
    }
  }
  const isMissing =
    node !== document.root && issue.path.length > 0 && nodeAt(document.root, where.slice(0, -1)) === node;
  const message = isMissing ? `is missing: ${issue.message}` : issue.message;
  return [{ offset: node.offset, key: keyOf(where), message }];
}

function unknownKey(key: string, where: readonly PropertyKey[], node: DocumentNode): Finding {
  const entry = node.kind === "map" ? node.entries.find((candidate) => candidate.key === key) : undefined;
  const known = knownKeys(where.at(-1));
  const near = suggest(key, known);
  return {
    offset: entry?.keyOffset ?? node.offset,
    key: keyOf([...where, key]),
    message: `is not a key here: expected ${known.join(", ")}`,
    ...(near === undefined ? {} : { hint: `did you mean ${near}?` }),
  };
}

/** The keys of the map that stands under this one; of an event, where that is its number. */
function knownKeys(parent: PropertyKey | undefined): readonly string[] {
  switch (parent) {
    case "plug":
      return Object.keys(plugSchema.shape);
    case "eject":
      return Object.keys(eject.shape);
    default:
      return ["at", ...KINDS];
  }
}
