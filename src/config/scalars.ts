/**
 * The scalars of the file: every one arrives as text (or as JSON's own number or boolean) and leaves as a value.
 *
 * Messages complete the sentence "expected ...". Must never accept a number or a boolean where a text is meant: a
 * JSON id written as a number has already lost its zeros.
 */
import { z } from "zod";
import { compilePattern } from "../core/pattern.js";

/** Bytes of a unix socket path (sun_path less its end); Node would cut a longer one silently. */
const LONGEST_SOCKET_PATH = 107;
/** Timers of Node count in 31 bits of milliseconds. */
const LONGEST_MS = 2_147_483_647;
const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DURATION = /^(\d{1,10})(ms|s|m|h)$/;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_EXPECTED =
  "expected a name: letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64";

const INTEGER = /^-?\d{1,9}$/;
const HEX_ID_EXPECTED = "expected four hex digits, such as 10de";
const SERIAL_EXPECTED = "expected a serial number as lspci -v shows it, such as 00-11-22-ff-ff-33-44-55";
const QEMU_ID_EXPECTED =
  "expected an id of QEMU: letters, digits, '.', '_' and '-', beginning with a letter, at most 128";
const USER_EXPECTED = "expected the name or number of a user, such as microvm";
const PROGRAM_EXPECTED = "expected a program, such as /usr/bin/qemu-system-x86_64 or qemu-system-*";
const PROPERTY_EXPECTED =
  "expected one word of letters, digits and . _ : + / @ % = -, without blanks, commas and wildcards";

/** A VM or rule name (semantics.md 1). */
export const name = z.string({ error: NAME_EXPECTED }).regex(NAME, { error: NAME_EXPECTED });

/** A user of the host, by name (as useradd(8) allows it) or number. */
export const userName = z
  .string({ error: USER_EXPECTED })
  .regex(/^(?:\d{1,10}|[A-Za-z_][A-Za-z0-9_.-]{0,31})$/, { error: USER_EXPECTED });

/** A pattern over the program of a process. */
export const executablePattern = z
  .string({ error: PROGRAM_EXPECTED })
  .refine((text) => compilePattern(text).ok, { error: PROGRAM_EXPECTED });

/** The path of a QMP socket. */
export const socketPath = z
  .string({ error: "expected the path of a QMP socket" })
  .refine((text) => text.startsWith("/"), {
    error: "expected an absolute path",
    params: { hint: "begin it with /: the agent may run in any folder" },
  })
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this looks for
  .refine((text) => !/[\u0000-\u001f\u007f]/.test(text), {
    error: "expected a path without control characters",
  })
  .refine((text) => Buffer.byteLength(text) <= LONGEST_SOCKET_PATH, {
    error: `expected at most ${LONGEST_SOCKET_PATH} bytes, more do not fit into a socket's address`,
    params: { hint: "move the socket to a shorter folder, such as /run" },
  });

/** `true` or `false`. */
export const flag = z
  .union([z.boolean(), z.literal("true"), z.literal("false")], { error: "expected true or false" })
  .transform((value) => value === true || value === "true");

/** A whole number of a range; negative ones have a minus. */
export function integer(least: number, most: number) {
  const error = `expected a whole number from ${least} to ${most}`;
  return z
    .union([z.string().regex(INTEGER, { error }), z.number().int({ error }).min(least).max(most)], { error })
    .transform(Number)
    .pipe(z.number().min(least, { error }).max(most, { error }));
}

/** One of several words. */
export function choice<const Words extends readonly [string, ...string[]]>(words: Words) {
  const last = words.at(-1);
  const list = words.length === 1 ? last : `${words.slice(0, -1).join(", ")} or ${last}`;
  return z.enum(words, { error: `expected ${list}` });
}

/** The name of a VM that stands under `vms`. */
export const vmName = z.string({ error: "expected the name of a VM" });

/** Four hex digits of an id, as lspci -nn shows them; the value is lower case and without `0x`. */
export const hexId = z
  .string({ error: HEX_ID_EXPECTED })
  .regex(/^(?:0[xX])?[0-9a-fA-F]{4}$/, { error: HEX_ID_EXPECTED })
  .transform((text) => text.toLowerCase().replace(/^0x/, ""));

/** The serial number of a PCIe device as lspci -v shows it. */
export const serialNumber = z
  .string({ error: SERIAL_EXPECTED })
  .regex(/^[0-9a-fA-F]{2}(?:-[0-9a-fA-F]{2}){7}$/, { error: SERIAL_EXPECTED })
  .transform((text) => text.toLowerCase());

/** An id that QEMU accepts (its `id_wellformed`), as buses and ports have it. */
export const qemuId = z
  .string({ error: QEMU_ID_EXPECTED })
  .regex(/^[A-Za-z][A-Za-z0-9._-]{0,127}$/, { error: QEMU_ID_EXPECTED });

/**
 * The value of a device_add property: one word, because a VM's start script may split and expand what it is given.
 * `true` and `false` without quotes in JSON are QEMU's `on` and `off`.
 */
export const propertyValue = z.union(
  [
    z.string().regex(/^[A-Za-z0-9._:+/@%=-]+$/, { error: PROPERTY_EXPECTED }),
    z.number().transform(String),
    z.boolean().transform((value) => (value ? "on" : "off")),
  ],
  { error: PROPERTY_EXPECTED },
);

/** A duration such as `500ms`, `30s`, `2m` or `1h`, as milliseconds. */
export function duration(leastMs: number) {
  const error = "expected a duration such as 500ms, 30s, 2m or 1h";
  return z
    .string({ error })
    .regex(DURATION, { error })
    .transform(toMs)
    .pipe(
      z
        .number()
        .min(leastMs, { error: `expected at least ${leastMs}ms` })
        .max(LONGEST_MS, { error: "expected at most 24 days" }),
    );
}

function toMs(text: string): number {
  const [, digits, unit] = DURATION.exec(text) ?? [];
  return Number(digits) * (MS_PER_UNIT[unit ?? ""] ?? Number.NaN);
}
