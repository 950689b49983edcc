import { existsSync, readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { formatIssues, parseConfig } from "../../../src/config/load.js";

const root = new URL("../../../", import.meta.url);
const examples = new URL("contrib/examples/", root);

function textOf(file: string): string {
  return readFileSync(new URL(file, examples), "utf8");
}

describe("an example in contrib", () => {
  it.each(readdirSync(examples))("is a good file without a remark: %s", (file) => {
    const result = parseConfig(textOf(file), file);
    expect(result.ok ? "" : formatIssues(result.error)).toBe("");
    expect(result.ok ? formatIssues(result.value.remarks) : "").toBe("");
  });

  it.each(readdirSync(examples).filter((file) => file !== "first.yaml"))(
    "says which recorded machine it is tried on, and whether that is made up: %s",
    (file) => {
      const text = textOf(file);
      const hosts = [...new Set(text.match(/fixtures\/hosts\/[\w.-]+\.json/g))];
      expect(hosts).toHaveLength(1);
      const host = new URL(hosts[0] ?? "", root);
      expect(existsSync(host)).toBe(true);
      const { description } = JSON.parse(readFileSync(host, "utf8"));
      expect(text.includes("MADE UP")).toBe(description.includes("MADE UP"));
      expect(text).toContain(`--config contrib/examples/${file}`);
    },
  );
});
