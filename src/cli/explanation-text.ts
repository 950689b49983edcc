/** Explanations as a person reads them. Nothing in them can move the cursor. */
import { printable } from "../base/printable.js";
import type { KeyReport } from "../core/explain-keys.js";
import type {
  DeviceExplanation,
  DeviceOfRule,
  Explanation,
  RuleExplanation,
  RuleOfVm,
  VmExplanation,
} from "../core/explanation.js";
import { describeClass } from "../core/pci-class.js";
import { notesOf } from "./explanation-notes.js";
import { renderTable } from "./io.js";
import { describeCounts } from "./rule-line.js";
import { renderWrapped, WIDTH, wrap } from "./wrapped-table.js";

/** As many near misses as a screen holds; the JSON answer has them all. */
const MOST_MISSES = 20;

/** The answer in lines. */
export function renderExplanation(answer: Explanation): readonly string[] {
  switch (answer.about) {
    case "device":
      return deviceLines(answer);
    case "vm":
      return vmLines(answer);
    case "rule":
      return ruleLines(answer);
  }
}

function deviceLines(answer: DeviceExplanation): readonly string[] {
  const { device, verdict, rules, steps } = answer;
  const ids = `${device.vendor ?? "????"}:${device.device ?? "????"}`;
  return [
    plain(`${device.address}  ${ids}  ${className(device.class)}  ${driverOf(device.driver)}`),
    ...sentence(`Verdict: ${verdict.message}`),
    ...notesOf(answer).flatMap(sentence),
    ...steps.flatMap((step) =>
      sentence(`Next: ${step.kind}${step.why === undefined ? "" : `, ${step.why}`}`),
    ),
    ...groupLines(answer),
    ...(rules.length === 0 ? [] : ["", "Rules, in the order of who goes first:"]),
    ...rules.flatMap((rule) => [
      ...sentence(`${rule.name} (${rule.mode}, for ${rule.vms.join(", ")}): ${rule.outcome.message}`),
      ...keyLines(rule.keys),
    ]),
  ];
}

function groupLines({ iommuGroup }: DeviceExplanation): readonly string[] {
  if (iommuGroup === null) {
    return ["IOMMU group: none, or not known"];
  }
  const rows = iommuGroup.members.map((member) => [
    `  ${member.address}`,
    className(member.class),
    driverOf(member.driver),
    member.part,
    member.vm ?? "",
  ]);
  return [
    "",
    `IOMMU group ${iommuGroup.number}:`,
    ...renderTable(["  ADDRESS", "CLASS", "DRIVER", "PART", "VM"], rows),
  ];
}

const MARKS = { match: "yes", "no-match": "no", unknown: "?" } as const;

function keyLines(keys: readonly KeyReport[]): readonly string[] {
  const rows = keyRows(keys, "  ");
  return rows.length === 0 ? [] : renderTable(["", "", "", ""], rows).slice(1);
}

function keyRows(keys: readonly KeyReport[], indent: string): string[][] {
  return keys.flatMap((key) => [
    [
      `${indent}${MARKS[key.verdict]}`,
      key.key,
      key.wanted.length === 0 ? "" : `wants ${key.wanted.join(" or ")}`,
      key.keys === undefined ? hasOf(key) : "",
    ],
    ...keyRows(key.keys ?? [], `${indent}  `),
  ]);
}

function hasOf({ verdict, actual, why }: KeyReport): string {
  if (actual === undefined) {
    return why ?? "not known";
  }
  // A key over several facts has something to show, and still lacks one.
  if (verdict === "unknown" && why !== undefined) {
    return `${why} (has ${actual ?? "none"})`;
  }
  return actual === null ? "has none" : `has ${actual}`;
}

function ruleLines({ rule, devices, nearMisses }: RuleExplanation): readonly string[] {
  const misses = nearMisses
    .slice(0, MOST_MISSES)
    .map(({ address, class: code, key }) => [
      address,
      className(code),
      key.key,
      key.wanted.join(" or "),
      key.actual ?? "none",
    ]);
  const more = nearMisses.length - misses.length;
  return [
    ...sentence(`Rule ${rule.name}: ${rule.mode}, for ${rule.vms.join(", ")}, ${describeCounts(rule)}`),
    ...shortLines(rule),
    ...(devices.length === 0 ? [] : ["", ...outcomeTable(devices)]),
    ...(misses.length === 0
      ? []
      : [
          "",
          "Near misses, by one key:",
          ...renderTable(["ADDRESS", "CLASS", "KEY", "WANTED", "FOUND"], misses),
        ]),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}

function vmLines({ vm, obstacle, rules, held, source }: VmExplanation): readonly string[] {
  const state = source === "offline" ? "" : `, ${vm.runState ?? vm.state}`;
  const names = new Set(rules.map(({ name }) => name));
  const others = held.filter((entry) => entry.rule === null || !names.has(entry.rule));
  const waiting = held.filter((entry) => entry.rule !== null && names.has(entry.rule));
  return [
    plain(`VM ${vm.name}${state}`),
    ...(obstacle === null ? [] : sentence(`In the way: ${obstacle.message}`)),
    ...(rules.length === 0 ? ["No rule is for it."] : rules.flatMap(ruleOfVmLines)),
    ...([...waiting, ...others].length === 0
      ? []
      : [
          "",
          "Held:",
          ...renderWrapped(
            ["ADDRESS", "RULE", "WHY"],
            [...waiting, ...others].map((entry) => [entry.address, entry.rule ?? "-", entry.reason.message]),
          ),
        ]),
  ];
}

function ruleOfVmLines(rule: RuleOfVm): readonly string[] {
  return [
    "",
    ...sentence(`Rule ${rule.name}: ${rule.mode}, ${describeCounts(rule)}`),
    ...shortLines(rule),
    ...(rule.devices.length === 0 ? [] : outcomeTable(rule.devices)),
  ];
}

function shortLines({ short }: Pick<RuleOfVm, "short">): readonly string[] {
  if (short === undefined) {
    return [];
  }
  const holders = short.holders.length === 0 ? "" : `; with others: ${short.holders.join(", ")}`;
  return sentence(`Short: it needs ${short.needed} and can have ${short.found}${holders}`);
}

function outcomeTable(devices: readonly DeviceOfRule[]): readonly string[] {
  const rows = devices.map((device) => [device.address, className(device.class), device.outcome.message]);
  return renderWrapped(["ADDRESS", "CLASS", "WHAT BECOMES OF IT"], rows);
}

function className(code: string | undefined): string {
  return code === undefined ? "class not known" : describeClass(code);
}

function driverOf(driver: string | null | undefined): string {
  return driver === undefined ? "driver not known" : driver === null ? "no driver" : `on ${driver}`;
}

function sentence(text: string): readonly string[] {
  return wrap(plain(text), WIDTH - 2).map((line, index) => (index === 0 ? line : `  ${line}`));
}

function plain(text: string): string {
  return printable(text);
}
