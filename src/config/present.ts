/** zod types a key that may be left out as one that may be undefined; core keeps the two apart. */

/** The same keys, each either there with a value or not there. */
export type Present<T> = { [Key in keyof T]: Exclude<T[Key], undefined> };

/** Leaves out the keys that have no value. */
export function presentOf<T extends object>(value: T): Present<T> {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined)) as Present<T>;
}
