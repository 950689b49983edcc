/** Whether the process that listens on a VM's socket is the one that the operator's file expects (semantics.md 9). */
import { compilePattern } from "./pattern.js";
import type { ExpectedListener } from "./policy.js";
import type { VmProcess } from "./vm.js";

/**
 * Why nothing may be said on a socket; `null` when nothing speaks against it.
 *
 * @param uid number of the expected user; `null` where the host does not know that user.
 */
export function listenerObjection(
  expected: ExpectedListener,
  found: VmProcess | null,
  uid: number | null,
): string | null {
  if (uid === null) {
    return `nothing is said to it: this host has no user ${expected.user}`;
  }
  if (found === null) {
    return "nothing is said to it: the process that listens on its socket was not found";
  }
  if (found.uid === uid && isExpected(expected.executable, found.executable)) {
    return null;
  }
  const who = `process ${found.pid} of user ${found.uid}, ${found.executable ?? "its program cannot be read"}`;
  return `nothing is said to it: ${who}, listens on its socket; expected user ${expected.user} and ${expected.executable}`;
}

function isExpected(executable: string, found: string | null): boolean {
  const pattern = compilePattern(executable);
  if (found === null || !pattern.ok) {
    return false;
  }
  return pattern.value.matches(executable.includes("/") ? found : found.slice(found.lastIndexOf("/") + 1));
}
