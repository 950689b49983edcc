import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";
import { configSchema } from "../../../src/config/schema.js";
import { keysAt } from "../../../src/config/schema-keys.js";
import { complaintsOf, type JsonSchema } from "../../support/json-schema.js";

const published = new URL("../../../contrib/pciplug.schema.json", import.meta.url);
const examples = new URL("../../../contrib/examples/", import.meta.url);
const fixtures = new URL("../../../fixtures/config/", import.meta.url);

/** Draft 7, which editors of YAML know best; `input`: what the operator writes, not what becomes of it. */
function jsonSchemaText(): string {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, { target: "draft-7", io: "input" });
  const title = "pciplug: which PCI devices go to which VM";
  return `${JSON.stringify({ $schema, title, ...schema }, null, 2)}\n`;
}

function publishedSchema(): JsonSchema {
  return JSON.parse(readFileSync(published, "utf8"));
}

function textOf(file: string): string {
  return readFileSync(new URL(file, fixtures), "utf8");
}

/** The map with this name that the file's schema has inside of a list. */
function itemOf(key: string): JsonSchema {
  return publishedSchema().properties?.[key]?.items ?? {};
}

function keysOf(schema: JsonSchema | undefined): readonly string[] {
  return Object.keys(schema?.properties ?? {});
}

describe("the JSON Schema for editors", () => {
  it("is the one that the schema of the file gives today", () => {
    if (process.env["UPDATE_GOLDEN"] === "1") {
      writeFileSync(published, jsonSchemaText());
    }
    if (!existsSync(published)) {
      throw new Error("there is none: run this test with UPDATE_GOLDEN=1 and read what it writes");
    }
    expect(readFileSync(published, "utf8")).toBe(jsonSchemaText());
  });

  it("has every key that the file may have", () => {
    const root = publishedSchema();
    expect(keysOf(root)).toEqual(keysAt([]));
    expect(keysOf(itemOf("vms"))).toEqual(keysAt(["vms", 0]));
    expect(keysOf(itemOf("rules"))).toEqual(keysAt(["rules", 0]));
    expect(keysOf(root.definitions?.["selector"])).toEqual(keysAt(["rules", 0, "match", "not", 0, "any", 0]));
    expect(keysOf(itemOf("rules").properties?.["expect"])).toEqual(keysAt(["rules", 0, "expect"]));
    expect(keysOf(itemOf("rules").properties?.["classes"]?.items)).toEqual(
      keysAt(["rules", 0, "classes", 0]),
    );
  });

  it("says something about every key of the file, of a VM, a rule and a selector", () => {
    const root = publishedSchema();
    const silent = [root, itemOf("vms"), itemOf("rules"), root.definitions?.["selector"]].flatMap((schema) =>
      Object.entries(schema?.properties ?? {}).flatMap(([key, { description }]) =>
        description === undefined && key !== "name" ? [key] : [],
      ),
    );
    expect(silent).toEqual([]);
  });

  it.each(readdirSync(examples))("has nothing against the example %s, read as editors read it", (file) => {
    const text = readFileSync(new URL(file, examples), "utf8");
    expect(complaintsOf(parse(text), publishedSchema())).toEqual([]);
    expect(text.split("\n", 1)).toEqual(["# yaml-language-server: $schema=../pciplug.schema.json"]);
  });

  it.each(readdirSync(new URL("valid/", fixtures)).filter((name) => !name.endsWith(".expected.json")))(
    "has nothing against the good file %s",
    (file) => {
      const text = textOf(`valid/${file}`);
      const read = file.endsWith(".json") ? JSON.parse(text) : parse(text, { schema: "failsafe" });
      expect(complaintsOf(read, publishedSchema())).toEqual([]);
    },
  );

  it.each([
    "count-shape",
    "group-shape",
    "missing",
    "prefer",
    "selector-shape",
    "traits",
    "unknown-keys",
    "values",
    "vms",
  ])("complains about the bad file %s.yaml", (file) => {
    const read: unknown = parse(textOf(`invalid/${file}.yaml`), { schema: "failsafe" });
    expect(complaintsOf(read, publishedSchema())).not.toEqual([]);
  });
});
