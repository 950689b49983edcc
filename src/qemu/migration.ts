/** Whether a VM's guest is being moved: then nothing in the VM is touched (QEMU itself refuses, facts.md 21). */
import type { QmpReader } from "./qom.js";

/** What query-migrate says while nothing is under way: it keeps saying how the last migration ended. */
const AT_REST: ReadonlySet<string> = new Set(["none", "completed", "failed", "cancelled"]);

/** QEMU's word for the migration that is under way; `null`: none is. One that is not known here counts as under way. */
export async function readMigration(client: QmpReader): Promise<string | null> {
  const { status = "none" } = await client.execute("query-migrate");
  return AT_REST.has(status) ? null : status;
}
