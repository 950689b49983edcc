/** `pciplug match`: what patterns select on this host, at once and without rules, an agent or rights. */
import { Command } from "commander";
import type { Device } from "../core/device.js";
import { EXIT, type ExitCode } from "../core/exit-code.js";
import { delicacyOf } from "../core/pci-class.js";
import { compileSelector, evaluateSelector, type Selector, type SelectorVerdict } from "../core/selector.js";
import { findVendors, type PciNames, readPciNames } from "../host/pci-names.js";
import { hostRoot } from "../host/root.js";
import {
  DEVICE_COLUMNS,
  deviceCells,
  deviceJson,
  nameCell,
  protectionNote,
  renderSentences,
} from "./device-row.js";
import { type Inventory, type InventoryOptions, loadInventory, withInventoryOptions } from "./inventory.js";
import { type CliIo, renderJson } from "./io.js";
import { describeRemark, describeSelectorIssue, parsePatterns, remarkJson } from "./match-patterns.js";

interface MatchOptions extends InventoryOptions {
  readonly json?: boolean;
}

/** One device that is selected, or may be. */
interface Hit {
  readonly device: Device;
  readonly names: PciNames;
  readonly said: SelectorVerdict;
  /** Why a rule of wildcards only leaves it alone; `null` where it does not. */
  readonly leftAlone: string | null;
}

const PATTERN_HELP = `
Patterns:
  65:00.*          an address pattern; of several, any is enough
  class=vga        a key of a selector and its value; all keys must hold, of one key's values any is enough
  udev.ID_PATH=*   a key inside a key; not.vendor=10de excludes
Examples:
  pciplug match '65:00.*'      pciplug match class=vga 'vendor=10de'      pciplug match '*' driver=nvme`;

export function matchCommand(io: CliIo): Command {
  return withInventoryOptions(new Command("match"))
    .description("show what patterns select on this host")
    .argument("<pattern...>", "address patterns, and key=value pairs that narrow them down")
    .option("--json", "print the whole answer as JSON")
    .addHelpText("after", PATTERN_HELP)
    .action(async (args: readonly string[], options: MatchOptions) => {
      const patterns = parsePatterns(args);
      const compiled = compileSelector(patterns.raw);
      if (!compiled.ok) {
        for (const line of compiled.error.flatMap((issue) => describeSelectorIssue(issue, patterns))) {
          io.err(line);
        }
        io.exit(EXIT.usage);
        return;
      }
      for (const remark of compiled.value.remarks) {
        for (const line of describeRemark(remark, patterns, (name) =>
          findVendors(hostRoot(options.root), name),
        )) {
          io.err(line);
        }
      }
      const remarks = compiled.value.remarks.map((remark) => remarkJson(remark, patterns));
      const inventory = await loadInventory({ ...options, wishes: compiled.value.wishes });
      const hits = hitsOf(compiled.value, inventory, options.root);
      const lines =
        options.json === true
          ? [renderJson(jsonOf(args, remarks, inventory, hits))]
          : render(inventory, hits, io.columns);
      io.exit(say(io, inventory.notes, lines, hits));
    });
}

/** Prints the answer and gives the exit code. */
function say(io: CliIo, notes: readonly string[], lines: readonly string[], hits: readonly Hit[]): ExitCode {
  const isAny = hits.some(({ said }) => said.verdict === "match");
  for (const note of [...notes, ...(isAny ? [] : ["no device matches"])]) {
    io.err(note);
  }
  for (const line of lines) {
    io.out(line);
  }
  return isAny ? EXIT.ok : EXIT.noMatch;
}

function hitsOf(selector: Selector, { devices }: Inventory, root: string): readonly Hit[] {
  const namesOf = readPciNames(hostRoot(root));
  return devices.flatMap((device) => {
    const said = evaluateSelector(selector, device);
    const leftAlone = selector.isWildcardOnly ? (delicacyOf(device.class) ?? null) : null;
    return said.verdict === "no-match" ? [] : [{ device, names: namesOf(device), said, leftAlone }];
  });
}

/** The keys without an answer, each with what is not known. */
function unknownsOf({ keys }: SelectorVerdict): { readonly key: string; readonly why: string }[] {
  return keys.flatMap(({ key, verdict, why }) => (verdict === "unknown" ? [{ key, why: why ?? key }] : []));
}

function jsonOf(
  patterns: readonly string[],
  remarks: readonly ReturnType<typeof remarkJson>[],
  { source, protections }: Inventory,
  hits: readonly Hit[],
) {
  const shown = ({ device, names, leftAlone }: Hit) => ({
    ...deviceJson(device, protections, names),
    leftAlone,
  });
  return {
    schema: "pciplug-match/1",
    source,
    patterns,
    remarks,
    matches: hits.filter(({ said }) => said.verdict === "match").map(shown),
    unknown: hits
      .filter(({ said }) => said.verdict === "unknown")
      .map((hit) => ({ ...shown(hit), unknownKeys: unknownsOf(hit.said) })),
  };
}

function render({ protections }: Inventory, hits: readonly Hit[], columns: number | undefined): string[] {
  if (hits.length === 0) {
    return [];
  }
  return renderSentences(
    [...DEVICE_COLUMNS, "NOTE", "NAME"],
    hits.map(({ device, names, said, leftAlone }) => {
      const notes = [
        said.verdict === "unknown"
          ? `unknown: ${unknownsOf(said)
              .map(({ why }) => why)
              .join(", ")}`
          : "",
        protectionNote(protections.get(device.address)),
        leftAlone === null ? "" : `left alone by a rule of wildcards only: ${leftAlone}`,
      ];
      return [...deviceCells(device), notes.filter((note) => note !== "").join("; "), nameCell(names)];
    }),
    columns,
  );
}
