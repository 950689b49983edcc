/** What a simulated QEMU answers to one command: QMP's two kinds of reply, without the id. */

export type SimReply =
  | { readonly return: unknown }
  | { readonly error: { readonly class: string; readonly desc: string } };

/** A command's arguments as they came in. */
export type SimArguments = Readonly<Record<string, unknown>>;

export function value(returned: unknown): SimReply {
  return { return: returned };
}

/** QEMU's usual error: only the text tells one from another (facts.md 1.1). */
export function fault(desc: string): SimReply {
  return { error: { class: "GenericError", desc } };
}

export function deviceNotFound(name: string): SimReply {
  return { error: { class: "DeviceNotFound", desc: `Device '${name}' not found` } };
}

export function commandNotFound(desc: string): SimReply {
  return { error: { class: "CommandNotFound", desc } };
}

export const EMPTY: SimReply = value({});
