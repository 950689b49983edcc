/**
 * Events as an async iterator: a bounded buffer between the wire and one reader.
 *
 * Invariants:
 * - hears from the moment it is made, not from the first `next()`;
 * - events come out in the order of the wire, each exactly once;
 * - a reader that is too slow is told so: what is buffered comes out, then QmpEventsLostError, then the end;
 * - whatever ends it (the link, the reader, the signal, an overflow), the subscription is gone at once.
 */

import { quiet } from "./containment.js";
import { blameCaller, type CallOrigin, QmpEventsLostError, QmpInterruptedError } from "./errors.js";

export interface QmpEventsOptions {
  /** How many events wait for the reader at most. Default 1,000. */
  readonly bufferSize?: number | undefined;
  /** Gives up reading: `next()` rejects with QmpInterruptedError, code qmp.aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Events for one reader; see QmpClient.events. */
export interface QmpEventIterator<T> extends AsyncIterableIterator<T, undefined>, AsyncDisposable {
  next(): Promise<IteratorResult<T, undefined>>;
  /** Stops hearing; what is buffered is dropped. `for await` calls it at a break. */
  return(): Promise<IteratorResult<T, undefined>>;
  [Symbol.asyncIterator](): QmpEventIterator<T>;
}

const DEFAULT_BUFFER_SIZE = 1_000;

interface Reader<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: Error) => void;
}

/** What ends a stream: quietly, or with an error for the reader. */
type Ending = { readonly error?: Error };

type Subscribe<T> = (hear: (event: T) => void, end: () => void) => () => void;

/** The buffer behind one iterator. */
export class EventStream<T> implements QmpEventIterator<T> {
  readonly #bufferSize: number;
  readonly #origin: CallOrigin;
  readonly #signal: AbortSignal | undefined;
  readonly #buffer: T[] = [];
  readonly #readers: Reader<T>[] = [];
  #unsubscribe: () => void = () => undefined;
  #ending: Ending | undefined;

  constructor(options: QmpEventsOptions, origin: CallOrigin) {
    this.#bufferSize = options.bufferSize ?? DEFAULT_BUFFER_SIZE;
    this.#origin = origin;
    this.#signal = options.signal;
  }

  /** Starts hearing, unless the link has ended already. `subscribe` returns what stops it. */
  open(subscribe: Subscribe<T>, hasEnded: boolean): this {
    if (this.#signal?.aborted === true) {
      this.#abort();
    } else if (hasEnded) {
      this.#end({});
    } else {
      this.#signal?.addEventListener("abort", this.#abort, { once: true });
      this.#unsubscribe = subscribe(
        (event) => this.#hear(event),
        () => this.#end({}),
      );
    }
    return this;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const event = this.#buffer.shift();
    if (event !== undefined) {
      return Promise.resolve({ done: false, value: event });
    }
    if (this.#ending === undefined) {
      return quiet(
        new Promise((resolve, reject) => {
          this.#readers.push({ resolve, reject });
        }),
      );
    }
    const { error } = this.#ending;
    this.#ending = {};
    return error === undefined
      ? Promise.resolve({ done: true, value: undefined })
      : quiet(Promise.reject(blameCaller(error, this.#origin)));
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#buffer.length = 0;
    this.#end({});
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  #hear(event: T): void {
    if (this.#ending !== undefined) {
      return;
    }
    const reader = this.#readers.shift();
    if (reader !== undefined) {
      reader.resolve({ done: false, value: event });
    } else if (this.#buffer.length < this.#bufferSize) {
      this.#buffer.push(event);
    } else {
      this.#end({ error: new QmpEventsLostError(this.#bufferSize) });
    }
  }

  readonly #abort = (): void => {
    this.#buffer.length = 0;
    this.#end({
      error: new QmpInterruptedError("qmp.aborted", "cannot read QMP events any longer: the caller gave up", {
        wasSent: false,
        cause: this.#signal?.reason,
      }),
    });
  };

  #end(ending: Ending): void {
    if (this.#ending !== undefined) {
      return;
    }
    this.#unsubscribe();
    this.#signal?.removeEventListener("abort", this.#abort);
    const [first, ...others] = this.#readers.splice(0);
    this.#ending = first === undefined ? ending : {};
    if (first !== undefined && ending.error !== undefined) {
      first.reject(blameCaller(ending.error, this.#origin));
    } else {
      first?.resolve({ done: true, value: undefined });
    }
    for (const reader of others) {
      reader.resolve({ done: true, value: undefined });
    }
  }
}
