/**
 * Keeps what others forget or break away from the link: promises nobody awaits, callbacks that throw.
 */

/** Marks a promise as looked after: one that nobody awaits must not end the process when the link dies. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Runs code of a stranger; what it throws surfaces as an uncaught exception, outside our own stack. */
export function runStranger(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
