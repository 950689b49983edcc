/**
 * Thrown errors: broken promises of the world around us (I/O, protocol, bugs).
 * Expected ways the world says no are values (see core/held.ts), never thrown.
 */

/**
 * The one base class of everything this program throws on purpose.
 *
 * `code` is what a caller may branch on; the message is for people: `cannot <verb> <object>: <cause>`.
 */
export class AgentError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly context: Readonly<Record<string, unknown>>;

  constructor(
    code: Code,
    message: string,
    options: { cause?: unknown; context?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = code;
    this.context = Object.freeze({ ...options.context });
  }
}

/** A bug in this program: the process must not go on as if nothing had happened. */
export class InvariantError extends AgentError<"bug"> {
  constructor(message: string, context: Readonly<Record<string, unknown>> = {}) {
    super("bug", message, { context });
  }
}

/** Marks a branch that the type system proves unreachable. @throws {InvariantError} when it is reached. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable value ${JSON.stringify(value)}`);
}

/** The sentence of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
