/** Against the schema that QEMU 7.2 gave (fixtures/qmp/7.2/pciplug-queries), whole and with one thing changed. */
import { describe, expect, it } from "vitest";
import {
  describeSchemaEntity,
  findSchemaMismatches,
  namesInUse,
  type SchemaInfo,
  type SchemaMember,
} from "../../../src/qmp/index.js";
import { isObject, loadRecordings } from "../../support/qmp-recordings.js";

const queries = loadRecordings().find(({ name }) => name === "pciplug-queries.ndjson");
const schema = (queries?.connections[0] ?? []).flatMap(({ dir, msg }) => {
  const reply = dir === "server" && isObject(msg) ? msg["return"] : undefined;
  return Array.isArray(reply) && isObject(reply[0]) && "meta-type" in reply[0] ? (reply as SchemaInfo[]) : [];
});

type Change = (entity: SchemaInfo) => SchemaInfo;

/** The schema with one type changed: the one that `name` takes or gives. */
function changed(name: string, which: "arg-type" | "ret-type", change: Change): SchemaInfo[] {
  const root = schema.find((entity) => entity.name === name)?.[which];
  const element = schema.find((entity) => entity.name === root)?.["element-type"];
  const target = element ?? root;
  return schema.map((entity) => (entity.name === target ? change(entity) : entity));
}

function withMembers(change: (member: SchemaMember) => SchemaMember[], more: SchemaMember[] = []): Change {
  return (entity) => ({ ...entity, members: [...(entity.members ?? []).flatMap(change), ...more] });
}

describe("the comparison of our types with QEMU's schema", () => {
  it("finds no mismatch in the QEMU they were written for", () => {
    expect(schema.length).toBeGreaterThan(1000);
    expect(namesInUse()).toEqual(expect.arrayContaining(["device_add", "DEVICE_DELETED"]));
    expect(findSchemaMismatches(schema)).toEqual([]);
  });

  it.each<[string, SchemaInfo[], string]>([
    ["a command is gone", schema.filter(({ name }) => name !== "device_del"), "device_del"],
    ["an event is gone", schema.filter(({ name }) => name !== "RESET"), "RESET"],
    [
      "an argument is gone",
      changed(
        "device_add",
        "arg-type",
        withMembers((member) => (member.name === "bus" ? [] : [member])),
      ),
      "device_add bus",
    ],
    [
      "an argument takes another type",
      changed(
        "qom-list-types",
        "arg-type",
        withMembers((member) => [member.name === "abstract" ? { ...member, type: "int" } : member]),
      ),
      "qom-list-types abstract",
    ],
    [
      "an optional argument is demanded",
      changed(
        "device_add",
        "arg-type",
        withMembers((member) => (member.name === "id" ? [{ name: "id", type: "str" }] : [member])),
      ),
      "device_add id",
    ],
    [
      "a new argument is demanded",
      changed(
        "qom-get",
        "arg-type",
        withMembers((member) => [member], [{ name: "why", type: "str" }]),
      ),
      "qom-get why",
    ],
    [
      "a member of a reply is gone",
      changed(
        "query-status",
        "ret-type",
        withMembers((member) => (member.name === "running" ? [] : [member])),
      ),
      "query-status reply.running",
    ],
    [
      "a member of a reply may be left out",
      changed(
        "query-pci",
        "ret-type",
        withMembers((member) => [{ ...member, default: null }]),
      ),
      "query-pci reply[].bus",
    ],
    [
      "a member of an event has another type",
      changed(
        "DEVICE_DELETED",
        "arg-type",
        withMembers((member) => [member.name === "path" ? { ...member, type: "int" } : member]),
      ),
      "DEVICE_DELETED.path",
    ],
  ])("says so when %s", (_what, other, place) => {
    expect(findSchemaMismatches(other).map((mismatch) => mismatch.place)).toContain(place);
  });

  it("passes over what QEMU has besides", () => {
    const more = changed(
      "device_add",
      "arg-type",
      withMembers((member) => [member], [{ name: "new", type: "str", default: null }]),
    );
    expect(findSchemaMismatches(more)).toEqual([]);
    expect(describeSchemaEntity(more, "device_add")).toContain("device_add arguments.new?: string");
  });

  it("describes a command without the numbers that differ from version to version, trees too", () => {
    expect(describeSchemaEntity(schema, "device_add")).toEqual([
      "device_add arguments.bus?: string",
      "device_add arguments.driver: string",
      "device_add arguments.id?: string",
      "device_add feature: json-cli",
      "device_add feature: json-cli-hotplug",
    ]);
    expect(describeSchemaEntity(schema, "query-pci")).toContain(
      "query-pci reply[].devices[].pci_bridge?.devices?: as above",
    );
    expect(describeSchemaEntity(schema, "no-such-command")).toEqual([]);
  });
});
