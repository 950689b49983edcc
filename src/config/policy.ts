/**
 * From what the file says to the policy: names that must agree, sockets that must differ, selectors compiled.
 */
import { err, ok, type Result } from "../base/result.js";
import { withFoundVms } from "../core/found-vms.js";
import type { Policy, Rule } from "../core/policy.js";
import { Complaints } from "./complaints.js";
import type { ConfigDocument } from "./document.js";
import type { Finding } from "./issue.js";
import { ruleOf } from "./rule.js";
import type { ConfigFile } from "./schema.js";
import { compileAllAt } from "./selection.js";
import { vmsOfFile } from "./vm.js";

/** A policy, and what may not mean what it says. */
export interface Built {
  readonly policy: Policy;
  readonly remarks: readonly Finding[];
}

/** Makes the policy. `version`: see {@link Policy.version}. */
export function buildPolicy(
  file: ConfigFile,
  document: ConfigDocument,
  version: string,
): Result<Built, readonly Finding[]> {
  const complaints = new Complaints(document);
  const vms = vmsOfFile(file, complaints);
  const ruleNames = file.rules.map((rule) => rule.name);
  complaints.refuseRepeated(ruleNames, ["rules"], ["name"], "another rule has this name");
  const rules: readonly Rule[] = file.rules.flatMap((_, index) => ruleOf(index, file, complaints) ?? []);
  const never = compileAllAt(file.never, ["never"], complaints);
  const allow = compileAllAt(file.allow, ["allow"], complaints);
  const protect = compileAllAt(file.protect, ["protect"], complaints);
  if (file.allow !== undefined && [file.allow].flat().length === 0) {
    complaints.refuse(["allow"], "allows nothing at all", "leave it out to allow everything");
  }
  if (complaints.findings.length > 0) {
    return err(complaints.findings);
  }
  const { limits, sources } = file;
  const policy: Policy = {
    ...vms,
    rules,
    never,
    allow: file.allow === undefined ? null : allow,
    protect,
    settleMs: file.settle,
    limits: { detachPerChange: limits.detachPerChange, keepAfterVmGoneMs: limits.keepAfterVmGone },
    sources: {
      udevadm: sources.udevadm,
      udevDatabase: sources.udevDatabase,
      sysfsPolling: sources.sysfsPolling,
      rescanMs: sources.rescan,
    },
    version,
  };
  return ok({ policy: withFoundVms(policy, []), remarks: complaints.remarks });
}
