/** What our types say of commands and events is what the installed QEMU says; `npm run qmp-schema` prints the same. */
import { expect, it } from "vitest";
import { connectQmp, describeSchemaEntity, findSchemaMismatches, namesInUse } from "../../src/qmp/index.js";
import { startQemu } from "../support/qemu-process.js";

it("agrees with every command, argument, reply and event of this package", async () => {
  await using qemu = await startQemu();
  await using client = await connectQmp({ path: qemu.path });
  const schema = await client.execute("query-qmp-schema");
  expect(findSchemaMismatches(schema)).toEqual([]);
  expect(namesInUse().filter((name) => describeSchemaEntity(schema, name).length === 0)).toEqual(
    // Neither arguments, data nor a reply: there is nothing to say of them.
    ["system_reset", "stop", "cont", "quit", "STOP", "RESUME", "POWERDOWN", "SUSPEND", "WAKEUP"],
  );
});
