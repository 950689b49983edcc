/**
 * Filters as people type them after `lspci`: `-s [[[domain]:][bus]:][slot][.[function]]` and
 * `-d [vendor]:[device][:class[:prog-if]]`, read exactly as lspci 3.9.0 does (lspci(8); the recorded answers in
 * fixtures/vectors).
 *
 * A filter is a number per field, not a pattern: fields that are missing on the left are any, so is an empty one and
 * `*`, and an address without a domain means every domain. Only a class may leave single digits open, with `x`.
 */

import { err, ok, type Result } from "../base/result.js";
import { type AddressParts, addressParts, formatAddress, type PciAddress } from "./address.js";
import type { DeviceFilter } from "./device-filter.js";
import { factOf, whyUnknown } from "./fact.js";
import type { PatternIssue } from "./pattern.js";
import type { SelectableDevice } from "./selector.js";
import type { Verdict } from "./verdict.js";
import { NO_WISHES } from "./wishes.js";

/** The options of lspci that filter. */
export const LSPCI_OPTIONS = ["-s", "-d"] as const;
export type LspciOption = (typeof LSPCI_OPTIONS)[number];

/** What lspci looks at. */
export type LspciDevice = Pick<SelectableDevice, "address" | "vendor" | "device" | "class">;

/** lspci copies what it is given into 64 bytes. */
const LONGEST_FILTER = 63;

type FieldName = "domain" | "bus" | "slot" | "function" | "vendor" | "device" | "class" | "interface";

/** The largest number that a field takes, and its name for people. */
const FIELDS: Readonly<Record<FieldName, { readonly max: number; readonly name: string }>> = {
  domain: { max: 0x7fff_ffff, name: "domain" },
  bus: { max: 0xff, name: "bus" },
  slot: { max: 0x1f, name: "slot" },
  function: { max: 7, name: "function" },
  vendor: { max: 0xffff, name: "vendor id" },
  device: { max: 0xffff, name: "device id" },
  class: { max: 0xffff, name: "class" },
  interface: { max: 0xff, name: "programming interface" },
};

/** One field that is not open: the bits that count, and what they must be. */
interface Wanted {
  readonly field: FieldName;
  readonly value: number;
  readonly mask: number;
}

/** A piece of the filter's text and where it begins. */
interface Piece {
  readonly text: string;
  readonly index: number;
}

/** Compiles a filter of lspci, or says what lspci would refuse it for. */
export function compileLspciFilter(option: LspciOption, text: string): Result<DeviceFilter, PatternIssue> {
  if (text.length > LONGEST_FILTER) {
    return err({ message: `has more than ${LONGEST_FILTER} characters`, index: LONGEST_FILTER });
  }
  const wanted = option === "-s" ? readSlotFilter(text) : readIdFilter(text);
  return wanted.ok ? ok(filterOf(wanted.value)) : wanted;
}

/** What the filter says about a device: three-valued, as every selector is. */
function judge(wanted: readonly Wanted[], device: LspciDevice): Verdict {
  let verdict: Verdict = "match";
  for (const { field, value, mask } of wanted) {
    const actual = READERS[field](device);
    if (actual === undefined) {
      verdict = "unknown";
    } else if (((actual ^ value) & mask) !== 0) {
      return "no-match";
    }
  }
  return verdict;
}

const READERS: Readonly<Record<FieldName, (device: LspciDevice) => number | undefined>> = {
  domain: (device) => partOf(device, "domain"),
  bus: (device) => partOf(device, "bus"),
  slot: (device) => partOf(device, "device"),
  function: (device) => partOf(device, "function"),
  vendor: ({ vendor }) => numberOf(vendor),
  device: ({ device }) => numberOf(device),
  class: (device) => numberOf(device.class?.slice(0, 4)),
  interface: (device) => numberOf(device.class?.slice(4)),
};

function partOf({ address }: Partial<LspciDevice>, part: keyof AddressParts): number | undefined {
  return address === undefined ? undefined : addressParts(address)[part];
}

function filterOf(wanted: readonly Wanted[]): DeviceFilter {
  return {
    verdictOf: (device) => judge(wanted, device),
    whyUnknown: (device) => {
      const lacking = wanted.find(({ field }) => READERS[field](device) === undefined)?.field;
      if (lacking === "vendor" || lacking === "device") {
        return whyUnknown(lacking, device);
      }
      return whyUnknown("class", device);
    },
    showFacts: (device) =>
      [
        device.address,
        ...(["vendor", "device", "class"] as const).map((key) => factOf(key, device) ?? "?"),
      ].join(" "),
    isWildcardOnly: !wanted.some(isSpecific),
    exactAddress: exactAddressOf(wanted),
    wishes: NO_WISHES,
  };
}

/** As for patterns: a bus or a slot is a place, a domain or a function is none; a class needs its first two digits. */
function isSpecific({ field, mask }: Wanted): boolean {
  switch (field) {
    case "bus":
    case "slot":
    case "vendor":
    case "device":
      return true;
    case "class":
      return (mask & 0xff00) === 0xff00;
    case "domain":
    case "function":
    case "interface":
      return false;
  }
}

function exactAddressOf(wanted: readonly Wanted[]): PciAddress | undefined {
  const fixedIn = (name: FieldName) => wanted.find(({ field }) => field === name)?.value;
  const [domain, bus, slot, fn] = [fixedIn("domain"), fixedIn("bus"), fixedIn("slot"), fixedIn("function")];
  return domain === undefined || bus === undefined || slot === undefined || fn === undefined
    ? undefined
    : formatAddress({ domain, bus, device: slot, function: fn });
}

function numberOf(digits: string | undefined): number | undefined {
  const number = Number.parseInt(digits ?? "", 16);
  return Number.isNaN(number) ? undefined : number;
}

function readSlotFilter(text: string): Result<readonly Wanted[], PatternIssue> {
  const fields = split({ text, index: 0 }, ":");
  const [last] = fields.slice(-1);
  if (fields.length > 3 || last === undefined) {
    return err({ message: "has more than three fields", index: fields[3]?.index ?? 0, hint: SLOT_HINT });
  }
  const [slot, fn, ...more] = isOpen(last) ? [] : split(last, ".");
  const [surplus] = more;
  if (surplus !== undefined) {
    return err({ message: "has more than one dot", index: surplus.index, hint: SLOT_HINT });
  }
  const left = fields.slice(0, -1);
  return readFields([
    ["domain", left.at(-2)],
    ["bus", left.at(-1)],
    ["slot", slot],
    ["function", fn],
  ]);
}

function readIdFilter(text: string): Result<readonly Wanted[], PatternIssue> {
  const fields = split({ text, index: 0 }, ":");
  const [vendor, device, pciClass, programming, surplus] = fields;
  if (surplus !== undefined) {
    return err({ message: "has more than four fields", index: surplus.index, hint: ID_HINT });
  }
  if (device === undefined) {
    return err({ message: "has no colon", index: 0, hint: ID_HINT });
  }
  return readFields([
    ["vendor", vendor],
    ["device", device],
    ["class", pciClass],
    ["interface", programming],
  ]);
}

const SLOT_HINT = "write [[[domain]:][bus]:][slot][.[function]]";
const ID_HINT = "write [vendor]:[device][:class[:interface]]";

function readFields(
  fields: readonly (readonly [field: FieldName, piece: Piece | undefined])[],
): Result<readonly Wanted[], PatternIssue> {
  const wanted: Wanted[] = [];
  for (const [field, piece] of fields) {
    if (piece !== undefined && !isOpen(piece)) {
      const read = readHex(piece.text, field);
      if (read === undefined) {
        const { max, name } = FIELDS[field];
        const digits = field === "class" ? "hexadecimal digits or x" : "hexadecimal digits";
        const message = `"${piece.text}" is no ${name}: ${digits} up to ${max.toString(16)}`;
        return err({ message, index: piece.index, hint: field in READ_BY_ID ? ID_HINT : SLOT_HINT });
      }
      wanted.push(read);
    }
  }
  return ok(wanted);
}

const READ_BY_ID: Partial<Readonly<Record<FieldName, true>>> = {
  vendor: true,
  device: true,
  class: true,
  interface: true,
};

/**
 * Reads digits as lspci does, in 32 bits without a sign: the limit is looked at after each digit, so a very long
 * domain can wrap around to a small one (`100000000::` is domain 0), and an open digit counts as 1 towards the limit.
 */
function readHex(text: string, field: FieldName): Wanted | undefined {
  let [value, mask, bound] = [0, 0xffff_ffff, 0];
  for (const char of text.toLowerCase()) {
    const isOpenDigit = char === "x" && field === "class";
    const digit = isOpenDigit ? 0 : "0123456789abcdef".indexOf(char);
    if (digit < 0) {
      return undefined;
    }
    value = ((value << 4) | digit) >>> 0;
    mask = ((mask << 4) | (isOpenDigit ? 0 : 0xf)) >>> 0;
    bound = ((bound << 4) | (isOpenDigit ? 1 : digit)) >>> 0;
    if (bound > FIELDS[field].max) {
      return undefined;
    }
  }
  return { field, value, mask };
}

/** Whether a field is any. */
function isOpen({ text }: Piece): boolean {
  return text === "" || text === "*";
}

function split({ text, index }: Piece, separator: string): readonly Piece[] {
  let start = index;
  return text.split(separator).map((part) => {
    const piece = { text: part, index: start };
    start += part.length + separator.length;
    return piece;
  });
}
