/**
 * The scalars of the file: every one arrives as text (or as JSON's own number or boolean) and leaves as a value.
 *
 * Messages complete the sentence "expected ...". Must never accept a number or a boolean where a text is meant: a
 * JSON id written as a number has already lost its zeros.
 */
import { z } from "zod";

/** Bytes of a unix socket path (sun_path less its end); Node would cut a longer one silently. */
const LONGEST_SOCKET_PATH = 107;
/** Timers of Node count in 31 bits of milliseconds. */
const LONGEST_MS = 2_147_483_647;
const MS_PER_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
const DURATION = /^(\d{1,10})(ms|s|m|h)$/;

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_EXPECTED =
  "expected a name: letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 64";

/** A VM or rule name (semantics.md 1). */
export const name = z.string({ error: NAME_EXPECTED }).regex(NAME, { error: NAME_EXPECTED });

/** One value of a selector's key; patterns are looked into later, by core. */
const pattern = z.string({ error: "expected a text" });

/** A pattern or a list of them. */
export const patterns = z.union([pattern, z.array(pattern)], { error: "expected a text or a list of texts" });

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
  .union([z.literal("true"), z.literal("false"), z.boolean()], { error: "expected true or false" })
  .transform((value) => value === true || value === "true");

/** A whole number from 0 to `most`. */
export function count(most: number) {
  const error = `expected a whole number from 0 to ${most}`;
  return z
    .union([z.string().regex(/^\d{1,9}$/, { error }), z.number().int({ error })], { error })
    .transform(Number)
    .pipe(z.number().min(0, { error }).max(most, { error }));
}

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
