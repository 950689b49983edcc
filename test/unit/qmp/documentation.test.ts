/** contrib/doc/qmp.md names all that `pciplug/qmp` offers and every way it fails. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../../..");
const page = readFileSync(join(root, "contrib/doc/qmp.md"), "utf8");
const sourceOf = (name: string): string => readFileSync(join(root, "src/qmp", name), "utf8");

it("names every export", () => {
  const lists = [...sourceOf("index.ts").matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(([, list]) => list);
  const names =
    lists
      .join(",")
      .match(/\w+/g)
      ?.filter((word) => word !== "type") ?? [];
  expect(names.length).toBeGreaterThan(60);
  expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(page))).toEqual([]);
});

it("names every code of every error", () => {
  const sources = ["errors.ts", "recording.ts", "pending.ts"].map(sourceOf).join("\n");
  const codes = new Set(sources.match(/(?<=")qmp\.[a-z-]+(?=")/g));
  expect(codes.size).toBeGreaterThan(20);
  expect([...codes].filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
});

it("names every option of connectQmp and every member of the client", () => {
  const options = /export interface QmpConnectOptions \{(.*?)\n\}/s.exec(sourceOf("options.ts"))?.[1] ?? "";
  const members = [
    ...[...options.matchAll(/readonly (\w+)\??:/g)].map(([, name]) => name ?? ""),
    ...[...sourceOf("client.ts").matchAll(/^ {2}(?:get |async )?([a-z]\w+)[(<]/gm)].map(
      ([, name]) => name ?? "",
    ),
  ].filter((name) => name !== "constructor");
  expect(members).toEqual(expect.arrayContaining(["maxFrameBytes", "executeRaw", "closeReason", "close"]));
  expect(members.filter((name) => !page.includes(`\`${name}`))).toEqual([]);
});
