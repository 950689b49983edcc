/** The host's own users, from /etc/passwd (passwd(5)). */
import { readFileSync } from "node:fs";
import type { HostRoot } from "./root.js";

/** The number of a user, given by name or number; `null` for a name that the file does not have, or cannot tell. */
export function uidOf(root: HostRoot, user: string): number | null {
  if (/^\d+$/.test(user)) {
    return Number(user);
  }
  const line = passwd(root)
    .split("\n")
    .find((entry) => entry.startsWith(`${user}:`));
  const uid = line?.split(":")[2];
  return uid !== undefined && /^\d+$/.test(uid) ? Number(uid) : null;
}

function passwd(root: HostRoot): string {
  try {
    return readFileSync(root.passwd(), "utf8");
  } catch {
    return "";
  }
}
