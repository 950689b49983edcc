/**
 * From what the file says to the policy: names that must agree, sockets that must differ, selectors compiled.
 */
import { posix } from "node:path";
import { err, ok, type Result } from "../base/result.js";
import type { Policy, Rule, VmSpec } from "../core/policy.js";
import { Complaints } from "./complaints.js";
import type { ConfigDocument } from "./document.js";
import type { Finding } from "./issue.js";
import { presentOf } from "./present.js";
import { ruleOf } from "./rule.js";
import type { ConfigFile } from "./schema.js";
import { compileAllAt } from "./selection.js";

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
  refuseRepetitions(file, complaints);
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
    vms: file.vms.map((vm): VmSpec => presentOf(vm)),
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
  return ok({ policy, remarks: complaints.remarks });
}

function refuseRepetitions({ vms, rules }: ConfigFile, complaints: Complaints): void {
  const names = vms.map((vm) => vm.name);
  complaints.refuseRepeated(names, ["vms"], ["name"], "another VM has this name");
  const ruleNames = rules.map((rule) => rule.name);
  complaints.refuseRepeated(ruleNames, ["rules"], ["name"], "another rule has this name");
  const sockets = vms.map((vm) => posix.normalize(vm.qmp));
  complaints.refuseRepeated(sockets, ["vms"], ["qmp"], "another VM has this socket");
  for (const [index, { ports }] of vms.entries()) {
    complaints.refuseRepeated(ports ?? [], ["vms", index, "ports"], [], "this port is in the list already");
  }
}
