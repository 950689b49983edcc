/**
 * A stack of ways back. Multi-step changes push one for each thing done and run them in reverse unless committed.
 * Node 20 has no AsyncDisposableStack; this is the part of it that is needed.
 */
import { messageOf } from "./error.js";

/** One thing that can be undone. */
interface Way {
  readonly what: string;
  readonly undo: () => Promise<void>;
}

/** What came of going back: which things were undone, and which could not be. */
export interface Undone {
  readonly undone: readonly string[];
  readonly failed: readonly { readonly what: string; readonly detail: string }[];
}

/** Collects ways back and walks them, last one first. */
export class UndoStack {
  readonly #ways: Way[] = [];

  /** Remembers how to undo `what`. */
  push(what: string, undo: () => Promise<void>): void {
    this.#ways.push({ what, undo });
  }

  /** Undoes everything in reverse. One way that fails does not keep the others from being walked. */
  async unwind(): Promise<Undone> {
    const undone: string[] = [];
    const failed: { what: string; detail: string }[] = [];
    for (let way = this.#ways.pop(); way !== undefined; way = this.#ways.pop()) {
      try {
        await way.undo();
        undone.push(way.what);
      } catch (error) {
        failed.push({ what: way.what, detail: messageOf(error) });
      }
    }
    return { undone, failed };
  }
}
