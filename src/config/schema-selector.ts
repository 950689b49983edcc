/**
 * The shape of a selector: its keys, and whether a key holds texts, names with texts, or further selectors.
 *
 * What a text means is core's (compileSelector). Wherever the file says which devices are meant, this is the shape.
 */
import { z } from "zod";

const text = z.string({ error: "expected a text" });

/** A pattern or a list of them. */
const patterns = z.union([text, z.array(text)], { error: "expected a text or a list of texts" });

const decimal = z.union([text, z.number().int().min(0).transform(String)], { error: "expected a number" });

/** Decimal numbers: unlike ids they lose nothing where JSON or an editor takes them for numbers. */
const decimals = z.union([decimal, z.array(decimal)], { error: "expected a number or a list of numbers" });

/** `true` and `false`, and `unknown`, which only core knows to be more than a typing error. */
const claim = z.union([text, z.boolean().transform(String)], { error: "expected true or false" });
const claims = z.union([claim, z.array(claim)], { error: "expected true or false, or a list of them" });

const patternsByName = z.record(z.string(), patterns, {
  error: "expected a map of names, each with a text or a list of texts",
});

/** Which devices are meant: all keys must hold; of a list any value is enough. */
export const selector = z
  .strictObject(
    {
      address: patterns
        .optional()
        .describe("PCI address pattern, such as 0000:65:00.* or, in any domain, 65:00.*"),
      path: patterns
        .optional()
        .describe(
          "Root bus, then device.function of every step: 0000:00/1c.0/00.0. Survives renumbered buses.",
        ),
      slot: patterns.optional().describe("Name of the physical slot (/sys/bus/pci/slots)"),
      label: patterns.optional().describe("The firmware's name for the device, such as Embedded NIC 1"),
      vendor: patterns.optional().describe("Vendor id, four hex digits, such as 10de; wildcards are allowed"),
      device: patterns.optional().describe("Device id, four hex digits"),
      subsystemVendor: patterns.optional().describe("Vendor id of the board's maker"),
      subsystemDevice: patterns.optional().describe("The board's own id"),
      class: patterns.optional().describe("Name (vga, 3d, nvme, ethernet, ...) or hex pattern (0300, 03*)"),
      revision: patterns.optional().describe("Revision, two hex digits"),
      driver: patterns.optional().describe("Name of the bound host driver; none where none is bound"),
      numaNode: decimals.optional().describe("NUMA node; unknown where the firmware does not say"),
      iommuGroup: decimals
        .optional()
        .describe("Number of the IOMMU group. Changes with firmware and kernel."),
      root: patterns.optional().describe("Address of the root port above the device"),
      physfn: patterns.optional().describe("Address of the physical function: selects its VFs"),
      isVf: claims.optional().describe("Whether it is a virtual function"),
      serial: patterns.optional().describe("PCIe device serial number, such as 00-11-22-ff-ff-33-44-55"),
      bootVga: claims.optional().describe("Whether the firmware used it as the boot display"),
      memory: patterns.optional().describe("Sum of the memory BARs with a comparison, such as >=8G"),
      udev: patternsByName.optional().describe("udev properties by name"),
      sysfs: patternsByName.optional().describe("sysfs attributes by name"),
      lspci: patterns.optional().describe('A filter as lspci takes it: "-s 01:" or "-d 10de::03xx"'),
      when: patterns.optional().describe("A CEL expression over the same facts"),
      get not(): z.ZodOptional<z.ZodUnion<readonly [typeof selector, z.ZodArray<typeof selector>]>> {
        return oneOrMore(selector).optional().describe("Excludes what any of these selectors matches");
      },
      get any(): z.ZodOptional<z.ZodArray<typeof selector>> {
        return z
          .array(selector, { error: "expected a list of selectors" })
          .optional()
          .describe("Alternatives: at least one of these selectors must match too");
      },
    },
    { error: "expected a map of what to match, such as {vendor: 10de, class: vga}" },
  )
  .meta({ id: "selector", description: "Which devices: all keys must hold, of a list any value is enough" });

/** One selector or a list of them. */
export const selectors = oneOrMore(selector);

function oneOrMore<Schema extends z.ZodType>(schema: Schema) {
  return z.union([schema, z.array(schema)], { error: "expected a selector or a list of selectors" });
}
