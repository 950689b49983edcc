/**
 * Guards: the only way from `unknown` to a wire type.
 *
 * A guard checks what the code relies on and nothing more: members it does not name pass through untouched,
 * so a newer QEMU that says more is understood. It returns the very value it was given, and tells what it relies on
 * as data, so that the same description can be held against QEMU's own (schema.ts).
 */

import type { JsonInteger } from "./json.js";

/** What a guard relies on, as data. */
export type Shape =
  | { readonly kind: "anything" | "text" | "flag" | "integer" | "record" }
  | { readonly kind: "list" | "optional"; readonly of: Guard<unknown> }
  | { readonly kind: "object"; readonly members: readonly (readonly [string, Guard<unknown>])[] };

/** Returns `value` as a T. @throws {ShapeError} naming the place that differs. */
export interface Guard<T> {
  (value: unknown, place: string): T;
  /** A function, because a guard may refer to itself. */
  readonly shape: () => Shape;
}

/** A value has not the shape the protocol promises. Never leaves this room: wrapped in a QmpProtocolError. */
export class ShapeError extends Error {
  constructor(place: string, expected: string) {
    super(`${place} is not ${expected}`);
    this.name = "ShapeError";
  }
}

function guardOf<T>(shape: () => Shape, check: (value: unknown, place: string) => T): Guard<T> {
  return Object.assign(check, { shape });
}

function scalar<T>(
  kind: "anything" | "text" | "flag" | "integer",
  check: (value: unknown, place: string) => T,
) {
  return guardOf<T>(() => ({ kind }), check);
}

export const anything: Guard<unknown> = scalar("anything", (value) => value);

export const text: Guard<string> = scalar("text", (value, place) => {
  if (typeof value !== "string") {
    throw new ShapeError(place, "a string");
  }
  return value;
});

export const flag: Guard<boolean> = scalar("flag", (value, place) => {
  if (typeof value !== "boolean") {
    throw new ShapeError(place, "a boolean");
  }
  return value;
});

/** An integer that fits a double: indices, slots, ids. */
export const integer: Guard<number> = scalar("integer", (value, place) => {
  if (!Number.isSafeInteger(value)) {
    throw new ShapeError(place, "a small integer");
  }
  return value as number;
});

/** An integer of up to 64 bits: sizes, addresses. */
export const wideInteger: Guard<JsonInteger> = scalar("integer", (value, place) => {
  if (typeof value === "bigint") {
    return value;
  }
  return integer(value, place);
});

/** A member that may be absent. */
export function optional<T>(guard: Guard<T>): Guard<T | undefined> {
  return guardOf(
    () => ({ kind: "optional", of: guard }),
    (value, place) => (value === undefined ? undefined : guard(value, place)),
  );
}

export function listOf<T>(guard: Guard<T>): Guard<readonly T[]> {
  return guardOf(
    () => ({ kind: "list", of: guard }),
    (value, place) => {
      if (!Array.isArray(value)) {
        throw new ShapeError(place, "a list");
      }
      value.forEach((item, index) => {
        guard(item, `${place}[${index}]`);
      });
      return value as readonly T[];
    },
  );
}

/** An object whose named members pass their guards. */
export function objectOf<T extends object>(members: { readonly [K in keyof T]-?: Guard<T[K]> }): Guard<T> {
  const guards = Object.entries(members) as [string, Guard<unknown>][];
  return guardOf(
    () => ({ kind: "object", members: guards }),
    (value, place) => {
      const object = record(value, place);
      for (const [name, guard] of guards) {
        guard(ownMember(object, name), `${place}.${name}`);
      }
      return value as T;
    },
  );
}

/** Any object that is not a list. */
export const record: Guard<Readonly<Record<string, unknown>>> = guardOf(
  () => ({ kind: "record" }),
  (value, place) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ShapeError(place, "an object");
    }
    return value as Readonly<Record<string, unknown>>;
  },
);

/** A guard that refers to itself, for trees. */
export function lazy<T>(guard: () => Guard<T>): Guard<T> {
  return guardOf(
    () => guard().shape(),
    (value, place) => guard()(value, place),
  );
}

/** A stranger's object must not answer with members of Object.prototype. */
function ownMember(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}
