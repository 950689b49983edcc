import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { formatIssues, parseConfig } from "../../../src/config/load.js";
import { keysAt } from "../../../src/config/schema-keys.js";
import { CLASS_NAMES } from "../../../src/core/pci-class.js";

const page = readFileSync(new URL("../../../contrib/doc/config.md", import.meta.url), "utf8");

/** What the page shows as YAML. */
const blocks = [...page.matchAll(/```yaml\n(.*?)```/gs)].map((match) => match[1] ?? "");

/** The VMs and rules that the page's pieces speak of. */
const VMS = ["build", "cache", "db", "desk", "firewall", "media", "train-a", "train-b", "web"];

/** A piece of a file as a whole one. */
function wholeOf(block: string): string {
  const vms = `vms: [${VMS.map((name) => `{name: ${name}, qmp: /run/${name}.sock, numaNode: 0}`).join(", ")}]\n`;
  if (/^- name:/.test(block)) {
    return `${vms}rules:\n${block}`;
  }
  if (block.startsWith("match:")) {
    return `${vms}rules:\n- name: r\n  vm: build\n${block.replace(/^(?=.)/gm, "  ")}`;
  }
  const isWritten = (key: string) => Object.hasOwn(parse(block), key);
  return `${isWritten("vms") ? "" : vms}${isWritten("rules") ? "" : "rules: []\n"}${block}`;
}

describe("the page about the file", () => {
  it.each([
    ["the file", []],
    ["a VM", ["vms", 0]],
    ["a rule", ["rules", 0]],
    ["a selector", ["never"]],
    ["expectations", ["rules", 0, "expect"]],
    ["limits", ["limits"]],
    ["sources", ["sources"]],
    ["preferences", ["rules", 0, "prefer", 0]],
    ["targets", ["rules", 0, "vms", 0]],
  ])("speaks of every key of %s", (_, path) => {
    const keys = keysAt(path);
    expect(keys.length).toBeGreaterThan(0);
    const isTold = (key: string) => page.includes(`\`${key}\``) || page.includes(`{${key}:`);
    expect(keys.filter((key) => !isTold(key))).toEqual([]);
  });

  it("names every class that has a name, and no other", () => {
    const [, list = ""] = /^Names for `class`:(.*)/ms.exec(page) ?? [];
    expect([...list.matchAll(/`([^`]+)`/g)].map((match) => match[1])).toEqual(
      Object.keys(CLASS_NAMES).sort(),
    );
  });

  it.each(blocks.map((block) => [block.split("\n", 1)[0], block]))("shows good YAML: %s", (_, block) => {
    const result = parseConfig(wholeOf(block ?? ""), "config.md");
    expect(result.ok ? "" : formatIssues(result.error)).toBe("");
    expect(result.ok ? formatIssues(result.value.remarks) : "").toBe("");
  });
});
