/** What `pciplug reload` is told: whether the file is in force now, and what of it waits for a confirmation. */
import type { ReloadResponse } from "../control/schema.js";
import type { HeldReason } from "../core/held.js";
import { reportPlan } from "../core/report.js";
import type { Scene } from "../core/scene.js";
import type { World } from "../core/world.js";
import type { Reading } from "./policy-file.js";

/** What a change of the file alone does not do (semantics.md 6). */
const WAITING: ReadonlySet<HeldReason["kind"]> = new Set(["detach-limit", "vm-missing"]);

/** The answer after a reading of the file, from the world that has seen it. */
export function reportReload(world: World, reading: Reading, scene: Scene): ReloadResponse {
  return {
    schema: "pciplug-reload/1",
    applied: reading.issues.length === 0,
    changed: reading.isNew,
    version: world.policy?.version ?? "",
    issues: reading.issues,
    held: reportPlan(world, "agent", scene).held.filter(({ reason }) => WAITING.has(reason.kind)),
  };
}
