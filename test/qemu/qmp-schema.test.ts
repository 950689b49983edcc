/** Every command, argument and event this program names exists in the schema of the installed QEMU. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { QMP_EVENTS } from "../../src/qmp/events.js";
import {
  connectQmp,
  QMP_COMMANDS,
  type QmpArguments,
  type QmpCommandName,
  type QmpEvents,
  type SchemaInfo,
} from "../../src/qmp/index.js";
import { type QemuProcess, startQemu } from "../support/qemu-process.js";

/**
 * The arguments our types name; a missing row or a name the type does not know fails to compile.
 * device_add takes the properties of the device besides (and `addr` is one of those).
 */
const ARGUMENTS: { readonly [K in QmpCommandName]: readonly (keyof QmpArguments<K> & string)[] } = {
  qmp_capabilities: ["enable"],
  "query-status": [],
  "query-name": [],
  "query-uuid": [],
  "query-version": [],
  "query-commands": [],
  "query-pci": [],
  "query-memory-size-summary": [],
  "query-qmp-schema": [],
  "qom-list": ["path"],
  "qom-get": ["path", "property"],
  "qom-list-types": ["implements", "abstract"],
  device_add: ["driver", "id", "bus"],
  device_del: ["id"],
  system_reset: [],
  stop: [],
  cont: [],
  quit: [],
};

/** The members our event guards read. */
const EVENT_MEMBERS: { readonly [K in keyof QmpEvents]: readonly (keyof QmpEvents[K] & string)[] } = {
  DEVICE_DELETED: ["device", "path"],
  DEVICE_UNPLUG_GUEST_ERROR: ["device", "path"],
  RESET: ["guest", "reason"],
  SHUTDOWN: ["guest", "reason"],
  STOP: [],
  RESUME: [],
  POWERDOWN: [],
  SUSPEND: [],
  WAKEUP: [],
  GUEST_PANICKED: [],
};

describe("the schema of the installed QEMU", () => {
  let qemu: QemuProcess;
  let schema: Map<string, SchemaInfo>;

  beforeAll(async () => {
    qemu = await startQemu();
    await using client = await connectQmp({ path: qemu.path });
    schema = new Map((await client.execute("query-qmp-schema")).map((entity) => [entity.name, entity]));
  });
  afterAll(async () => {
    await qemu[Symbol.asyncDispose]();
  });

  function membersOf(name: string, metaType: string): string[] {
    const entity = schema.get(name);
    expect(entity?.["meta-type"], name).toBe(metaType);
    return schema.get(entity?.["arg-type"] ?? "")?.members?.flatMap((member) => member.name ?? []) ?? [];
  }

  it.each(Object.keys(QMP_COMMANDS) as QmpCommandName[])(
    "has the command %s with the arguments we give",
    (command) => {
      expect(membersOf(command, "command")).toEqual(expect.arrayContaining([...ARGUMENTS[command]]));
    },
  );

  it.each(Object.keys(QMP_EVENTS) as (keyof QmpEvents)[])(
    "has the event %s with the members we read",
    (event) => {
      expect(membersOf(event, "event")).toEqual(expect.arrayContaining([...EVENT_MEMBERS[event]]));
    },
  );
});
