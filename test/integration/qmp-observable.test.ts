/** QMP events as a stream: it ends with the link, quietly, whatever ended it. */
import { lastValueFrom, toArray } from "rxjs";
import { expect, it } from "vitest";
import { connectQmp } from "../../src/qmp/index.js";
import { fromQmpEvents } from "../../src/qmp/observable.js";
import { startQmpServer } from "../support/qmp-server.js";

it("emits the events from subscription on and completes when the link breaks", async () => {
  await using server = await startQmpServer(async (peer) => {
    await peer.negotiate();
    peer.reply(await peer.hear(), {});
    peer.event("STOP");
    peer.event("RESET", { guest: true, reason: "guest-reset" });
    peer.sayRaw("garbage\r\n");
  });
  await using client = await connectQmp({ path: server.path });
  const all = lastValueFrom(fromQmpEvents(client).pipe(toArray()));
  await client.execute("stop");
  expect((await all).map((event) => event.name)).toEqual(["STOP", "RESET"]);
  expect(await lastValueFrom(fromQmpEvents(client).pipe(toArray()))).toEqual([]);
});

it("stops listening when unsubscribed, and leaves the client open", async () => {
  await using server = await startQmpServer(async (peer) => {
    await peer.negotiate();
    const command = await peer.hear();
    peer.event("STOP");
    peer.reply(command);
  });
  await using client = await connectQmp({ path: server.path });
  const heard: string[] = [];
  const subscription = fromQmpEvents(client).subscribe((event) => heard.push(event.name));
  subscription.unsubscribe();
  await client.execute("cont");
  expect(heard).toEqual([]);
  expect(client.state).toBe("running");
});
