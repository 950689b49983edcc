/**
 * QEMU's object tree as this room reads it: children by type, properties by name.
 *
 * Whatever is read may be unplugged between two questions: a refused question about one object is `undefined`,
 * never an error. Nothing here changes a VM.
 */
import type { QmpClient } from "../qmp/client.js";
import { QmpCommandError } from "../qmp/errors.js";
import type { QmpCallOptions } from "../qmp/options.js";
import type { ObjectPropertyInfo } from "../qmp/results.js";

/** The part of a QMP session that reading takes; a replayed recording has it too. */
export type QmpReader = Pick<QmpClient, "execute">;

/** Where devices with an id live, each under its id. */
export const PERIPHERAL = "/machine/peripheral";
/** Where devices without an id live, as `device[N]`. */
export const PERIPHERAL_ANON = "/machine/peripheral-anon";

/** A child of an object. */
export interface QomChild {
  readonly name: string;
  /** QOM path. */
  readonly path: string;
  /** QOM type, without `child<>`. */
  readonly type: string;
}

/** Everything of an object that is `child<TYPE>`; `undefined` when there is no such object. */
export async function readChildren(
  client: QmpReader,
  path: string,
  options?: QmpCallOptions,
): Promise<readonly QomChild[] | undefined> {
  const properties = await unlessGone(client.execute("qom-list", { path }, options));
  return properties?.flatMap(({ name, type }) => {
    const child = /^child<(.+)>$/.exec(type)?.[1];
    return child === undefined ? [] : [{ name, path: `${path}/${name}`, type: child }];
  });
}

/** The properties of an object; `undefined` when there is no such object. */
export function readProperties(
  client: QmpReader,
  path: string,
): Promise<readonly ObjectPropertyInfo[] | undefined> {
  return unlessGone(client.execute("qom-list", { path }));
}

/** One property; `undefined` when there is no such object or property. */
export function readProperty(client: QmpReader, path: string, property: string): Promise<unknown> {
  return unlessGone(client.execute("qom-get", { path, property }));
}

/** One property that is text; `undefined` when it is absent or something else. */
export async function readText(
  client: QmpReader,
  path: string,
  property: string,
): Promise<string | undefined> {
  const value = await readProperty(client, path, property);
  return typeof value === "string" ? value : undefined;
}

/** The id of a device, from its path; `null` for one without. */
export function idOfPath(path: string): string | null {
  return path.startsWith(`${PERIPHERAL}/`) ? path.slice(PERIPHERAL.length + 1) : null;
}

/** QOM path of the device with this id. device_del takes a path in the place of an id (facts.md 2.1): so do we. */
export function pathOfId(id: string): string {
  return id.startsWith("/") ? id : `${PERIPHERAL}/${id}`;
}

/** Last part of a QOM path: of a bus, its name. */
export function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Path of the object above. */
export function parentPath(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

async function unlessGone<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof QmpCommandError) {
      return undefined;
    }
    throw error;
  }
}
