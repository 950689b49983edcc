/**
 * OpenStack Nova's `[pci] device_spec` as a selector, one to one (Nova: nova/pci/devspec.py; the recorded answers in
 * fixtures/vectors/nova-address-spec.json).
 *
 * What of a spec selects is its address, vendor and product; tags such as `physical_network` select nothing and are
 * left aside. A spec that names exactly one address also means the VFs of that function, if it has any.
 * What cannot be said as a selector is refused, never widened.
 */

import { err, ok, type Result } from "../base/result.js";
import { compileAddressPattern } from "./address-pattern.js";
import { type NovaField, translateNovaRegex } from "./nova-regex.js";
import type { RawSelector } from "./selector.js";

/** One regular expression for each field of an address; a field that is missing is any. */
export type NovaAddressMap = Partial<Readonly<Record<NovaField, string>>>;

/** What of a device_spec matters here. `vendor` and `product` are short for `vendor_id` and `product_id`. */
export interface NovaSpec {
  readonly address?: string | NovaAddressMap;
  readonly vendor_id?: string;
  readonly product_id?: string;
  readonly vendor?: string;
  readonly product?: string;
  readonly devname?: string;
  readonly remote_managed?: unknown;
  /** Tags. */
  readonly [tag: string]: unknown;
}

/** Why a spec is no selector. */
export interface NovaRefusal {
  readonly kind: /** Nova refuses it too: not an address, map or id as it wants them. */
    | "wrong-format"
    /** Nova refuses it too: a field that is not hexadecimal, or too large. */
    | "out-of-range"
    /** Nova refuses it too: an address and a devname. */
    | "both-given"
    /** Nova takes it, but no selector says the same. */
    | "not-expressible";
  /** The part of the spec that is meant, such as `address.bus`. */
  readonly field: string;
  readonly message: string;
}

const ANY = "*";
/** Widths and limits as Nova writes and checks them. */
const FIELDS = {
  domain: { digits: 4, max: 0xffff },
  bus: { digits: 2, max: 0xff },
  slot: { digits: 2, max: 0x1f },
  function: { digits: 1, max: 7 },
  id: { digits: 4, max: 0xffff },
} as const;
const ADDRESS_FIELDS = ["domain", "bus", "slot", "function"] as const;
/** A number as Python's int(text, 16) takes it. */
const PYTHON_HEX = /^([+-]?)(?:0x_?)?([0-9a-f]+(?:_[0-9a-f]+)*)$/i;

type Translated<T> = Result<T, NovaRefusal>;

/** Translates a device_spec, or only its address in either of Nova's forms. */
export function translateNovaSpec(spec: string | NovaAddressMap | NovaSpec): Translated<RawSelector> {
  const { address, devname, ...rest } = isAddress(spec) ? { address: spec } : spec;
  if (devname) {
    return address
      ? refuse("both-given", "devname", "a spec has an address or a devname, not both")
      : refuse("not-expressible", "devname", "the name of a network interface selects no PCI device here");
  }
  if (isTrue(rest.remote_managed)) {
    return refuse("not-expressible", "remote_managed", "Nova wants a serial number in the card's VPD then");
  }
  const place = translateAddress(address || "*:*:*.*");
  const vendor = translateId("vendor_id", rest.vendor_id ?? rest.vendor);
  const product = translateId("product_id", rest.product_id ?? rest.product);
  if (!vendor.ok) {
    return vendor;
  }
  if (!product.ok) {
    return product;
  }
  return place.ok ? ok({ ...vendor.value, ...renamed(product.value), ...place.value }) : place;
}

/**
 * Translates the address of a physical function as Nova writes it: all four fields, nothing left out. Nova lets `*`
 * through as it stands, which no field of an address ever is: it is kept as a character, and matches nothing.
 */
export function translateNovaPhysicalAddress(text: string): Translated<RawSelector> {
  const [place = "", fn = ""] = splitAtDot(text);
  const [domain, bus, slot, surplus] = place.split(":");
  if (domain === undefined || bus === undefined || slot === undefined || surplus !== undefined) {
    return refuse("wrong-format", "address", `"${text}" has not the form domain:bus:slot.function`);
  }
  const fields = readFields({ domain, bus, slot, function: fn });
  return fields.ok ? ok({ address: join(fields.value).replaceAll(ANY, `\\${ANY}`) }) : fields;
}

function isAddress(spec: string | NovaAddressMap | NovaSpec): spec is string | NovaAddressMap {
  return typeof spec === "string" || ADDRESS_FIELDS.some((field) => Object.hasOwn(spec, field));
}

function translateAddress(address: unknown): Translated<RawSelector> {
  if (typeof address === "string") {
    return translateGlob(address);
  }
  if (typeof address !== "object" || address === null || Array.isArray(address)) {
    return refuse("wrong-format", "address", "is neither a text nor a map of domain, bus, slot and function");
  }
  const patterns: Record<string, string> = {};
  let isSingle = true;
  for (const field of ADDRESS_FIELDS) {
    const written: unknown = (address as Record<string, unknown>)[field] ?? ".*";
    if (typeof written !== "string") {
      return refuse("wrong-format", `address.${field}`, "is no text");
    }
    const translated = translateNovaRegex(field, written);
    if (!translated.ok) {
      const { kind, message } = translated.error;
      return refuse(kind, `address.${field}`, `"${written}" ${message}`);
    }
    patterns[field] = translated.value;
    // Nova looks the function up by the very texts: it finds it only where they are spelled as sysfs spells them.
    isSingle &&= new RegExp(`^[0-9a-f]{${FIELDS[field].digits}}$`).test(written);
  }
  const joined = join(patterns);
  return compileAddressPattern(joined).ok
    ? ok(withFunctionsOf(joined, isSingle))
    : refuse("not-expressible", "address", "would be too long a pattern");
}

/** The text form: up to three fields from the right, then the function; what is missing or empty is any. */
function translateGlob(text: string): Translated<RawSelector> {
  const [place = "", fn = ""] = splitAtDot(text);
  const left = place.split(":");
  if (left.length > 3) {
    return refuse("wrong-format", "address", `"${text}" has more than three fields before the function`);
  }
  const [domain = "", bus = "", slot = ""] = [...Array(3 - left.length).fill(""), ...left];
  const written = { domain, bus, slot, function: fn };
  const fields = readFields(
    Object.fromEntries(Object.entries(written).map(([field, value]) => [field, value.trim() || ANY])),
  );
  if (!fields.ok) {
    return fields;
  }
  return ok(withFunctionsOf(join(fields.value), !Object.values(fields.value).includes(ANY)));
}

/** Nova: a spec of exactly one address also matches each VF whose physical function is there. */
function withFunctionsOf(address: string, isSingle: boolean): RawSelector {
  return isSingle ? { any: [{ address }, { physfn: address }] } : { address };
}

function readFields(written: Readonly<Record<string, string>>): Translated<Readonly<Record<string, string>>> {
  const read: Record<string, string> = {};
  for (const field of ["function", "domain", "bus", "slot"] as const) {
    const value = readHex(`address.${field}`, written[field] ?? "", FIELDS[field]);
    if (!value.ok) {
      return value;
    }
    read[field] = value.value;
  }
  return ok(read);
}

function translateId(field: "vendor_id" | "product_id", written: unknown): Translated<{ vendor?: string }> {
  if (written === undefined) {
    return ok({});
  }
  if (typeof written !== "string") {
    return refuse("wrong-format", field, "is no text");
  }
  const value = readHex(field, written.trim(), FIELDS.id);
  if (!value.ok) {
    return value;
  }
  return ok(value.value === ANY ? {} : { vendor: value.value });
}

/** The product id is what selectors call the device id. */
function renamed({ vendor }: { readonly vendor?: string }): { device?: string } {
  return vendor === undefined ? {} : { device: vendor };
}

function readHex(
  field: string,
  written: string,
  { digits, max }: { readonly digits: number; readonly max: number },
): Translated<string> {
  if (written === ANY) {
    return ok(ANY);
  }
  const [, sign, number] = PYTHON_HEX.exec(written.trim()) ?? [];
  const value = Number.parseInt((number ?? "").replaceAll("_", ""), 16);
  if (Number.isNaN(value) || value > max || (sign === "-" && value > 0)) {
    return refuse(
      "out-of-range",
      field,
      `"${written}" is no hexadecimal number from 0 to ${max.toString(16)}`,
    );
  }
  return ok(value.toString(16).padStart(digits, "0"));
}

function join(fields: Readonly<Record<string, string>>): string {
  return `${fields["domain"]}:${fields["bus"]}:${fields["slot"]}.${fields["function"]}`;
}

function splitAtDot(text: string): readonly string[] {
  const dot = text.indexOf(".");
  return dot < 0 ? [text] : [text.slice(0, dot), text.slice(dot + 1)];
}

/** The texts that Nova takes for true. */
function isTrue(tag: unknown): boolean {
  return ["1", "t", "true", "on", "y", "yes"].includes(String(tag).trim().toLowerCase());
}

function refuse(kind: NovaRefusal["kind"], field: string, message: string): Translated<never> {
  return err({ kind, field, message });
}
