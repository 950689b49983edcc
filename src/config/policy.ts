/**
 * From what the file says to the policy: names that must agree, sockets that must differ, selectors compiled.
 * Every complaint has the exact place of what it is about, down to the character of a pattern.
 */
import { posix } from "node:path";
import { err, ok, type Result } from "../base/result.js";
import { DEFAULT_TRAITS, type Policy, type Rule } from "../core/policy.js";
import { compileSelector, type SelectorIssue } from "../core/selector.js";
import type { ConfigDocument } from "./document.js";
import type { Finding } from "./issue.js";
import type { ConfigFile } from "./schema.js";
import { keyOf, nodeAt } from "./shape.js";
import { suggest } from "./suggestion.js";

type Path = readonly PropertyKey[];
type RawRule = ConfigFile["rules"][number];

/** Makes the policy. `version`: see {@link Policy.version}. */
export function buildPolicy(
  file: ConfigFile,
  document: ConfigDocument,
  version: string,
): Result<Policy, readonly Finding[]> {
  const at = (path: Path, message: string, hint?: string): Finding => {
    const place = { offset: nodeAt(document.root, path).offset, key: keyOf(path), message };
    return hint === undefined ? place : { ...place, hint };
  };
  const vmNames = file.vms.map((vm) => vm.name);
  const findings: Finding[] = [
    ...repeated(vmNames, ["vms"], "name", "another VM has this name", at),
    ...repeated(
      file.rules.map((rule) => rule.name),
      ["rules"],
      "name",
      "another rule has this name",
      at,
    ),
    ...repeated(
      file.vms.map((vm) => posix.normalize(vm.qmp)),
      ["vms"],
      "qmp",
      "another VM has this socket",
      at,
    ),
    ...file.rules.flatMap((rule, index) => strayVm(rule, index, vmNames, at)),
  ];
  const rules: Rule[] = [];
  for (const [index, rule] of file.rules.entries()) {
    const selector = compileSelector(definedOf(rule.match));
    if (selector.ok) {
      rules.push({ ...DEFAULT_TRAITS, name: rule.name, match: selector.value, mode: rule.mode, vm: rule.vm });
    } else {
      const path = ["rules", index, "match"];
      findings.push(...selector.error.map((issue) => locate(issue, path, document)));
    }
  }
  if (findings.length > 0) {
    return err(findings);
  }
  const { limits, sources } = file;
  return ok({
    vms: file.vms,
    rules,
    never: [],
    allow: null,
    protect: [],
    settleMs: 2_000,
    limits: { detachPerChange: limits.detachPerChange, keepAfterVmGoneMs: limits.keepAfterVmGone },
    sources: {
      udevadm: sources.udevadm,
      udevDatabase: sources.udevDatabase,
      sysfsPolling: sources.sysfsPolling,
      rescanMs: sources.rescan,
    },
    version,
  });
}

type At = (path: Path, message: string, hint?: string) => Finding;

function repeated(values: readonly string[], list: Path, key: string, message: string, at: At): Finding[] {
  return values.flatMap((value, index) => {
    const first = values.indexOf(value);
    const hint = `the first is ${keyOf([...list, first])}`;
    return first === index ? [] : [at([...list, index, key], `${message}: ${value}`, hint)];
  });
}

function strayVm(rule: RawRule, index: number, vmNames: readonly string[], at: At): Finding[] {
  if (vmNames.includes(rule.vm)) {
    return [];
  }
  const near = suggest(rule.vm, vmNames);
  const known = vmNames.length === 0 ? "there are none" : `there are ${[...new Set(vmNames)].join(", ")}`;
  const hint = near === undefined ? "add it to vms, or name one that is there" : `did you mean ${near}?`;
  return [at(["rules", index, "vm"], `no VM has the name ${JSON.stringify(rule.vm)}: ${known}`, hint)];
}

function definedOf(match: RawRule["match"]): Record<string, string | readonly string[]> {
  const written: Record<string, string | readonly string[]> = {};
  for (const [key, value] of Object.entries(match)) {
    if (value !== undefined) {
      written[key] = value;
    }
  }
  return written;
}

/** Core says which value and which character of it; here is where that stands in the file. */
function locate(issue: SelectorIssue, match: Path, document: ConfigDocument): Finding {
  const path = [...match, ...issue.path];
  const node = nodeAt(document.root, path);
  const textOffset = node.kind === "text" ? node.textOffset : null;
  const offset =
    textOffset === null || issue.character === undefined ? node.offset : textOffset + issue.character;
  const place = { offset, key: keyOf(path), message: issue.message };
  return issue.hint === undefined ? place : { ...place, hint: issue.hint };
}
