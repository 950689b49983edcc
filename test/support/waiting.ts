/** Waiting in tests: for a condition or for an end, each with a hang guard that says what was so far. */
const HANG_GUARD_MS = 20_000;
const LOOK_AGAIN_MS = 5;

/** Waits for something that ends by itself, unless it hangs. */
export async function inTime<T>(
  what: string,
  promise: Promise<T>,
  soFar: () => string = () => "",
): Promise<T> {
  let guard: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    guard = setTimeout(() => reject(new Error(`${what} did not end\n${soFar()}`)), HANG_GUARD_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(guard);
  }
}

/** Waits for a condition that nothing tells of when it comes true. */
export async function waitFor(what: string, isTrue: () => boolean, soFar: () => string): Promise<void> {
  const giveUpAt = Date.now() + HANG_GUARD_MS;
  while (!isTrue()) {
    if (Date.now() > giveUpAt) {
      throw new Error(`waited in vain for ${what}\n${soFar()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}
