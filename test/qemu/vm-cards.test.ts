/**
 * A card with two functions in one port of a real QEMU (-S): what attach and detach of whole cards stand on.
 * Emulated edu devices stand in for the functions: the lab has real ones.
 */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/core/address.js";
import type { Place } from "../../src/core/port-choice.js";
import { requestUnplug } from "../../src/qemu/detach.js";
import { readPorts } from "../../src/qemu/ports.js";
import { refusalOf } from "../../src/qemu/refusal.js";
import { type QmpClient, QmpCommandError } from "../../src/qmp/index.js";
import { placesOfCard } from "../support/card-places.js";
import { startVm } from "../support/qemu-vm.js";

const THIRD = parseAddress("0000:65:00.2") as Place["address"];
const ACPI = "-device pcie-root-port,id=rp0,chassis=1";
const NATIVE = `-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off ${ACPI}`;

async function add(client: QmpClient, { address, bus, addr, isMultifunction }: Place): Promise<void> {
  const more = isMultifunction === true ? { multifunction: true } : {};
  await client.execute("device_add", { driver: "edu", id: idOf(address), bus, addr, ...more });
}

function idOf(address: string): string {
  return `f${address.at(-1)}`;
}

async function occupants(client: QmpClient): Promise<readonly string[]> {
  const [port] = await readPorts(client);
  return port?.state.kind === "plugged" ? port.state.by : [];
}

async function refusalIn(action: Promise<unknown>): Promise<unknown> {
  return action.then(
    () => "taken",
    (error: unknown) => (error instanceof QmpCommandError ? refusalOf(error).reason : error),
  );
}

describe.each([
  ["by ACPI", ACPI],
  ["natively", NATIVE],
])("a card with two functions, plugged %s", (mode, args) => {
  it("goes in at the places and in the order that are chosen for it", async () => {
    await using running = await startVm({ args });
    const places = placesOfCard("0000:65:00.0", "0000:65:00.1");
    expect(places.map(({ address }) => address)).toEqual(["0000:65:00.1", "0000:65:00.0"].map(parseAddress));
    for (const place of places) {
      await add(running.client, place);
    }
    expect(await occupants(running.client)).toEqual(["f0", "f1"]);
  });

  it("is refused a function once function 0 is there, and function 0 without multifunction", async () => {
    await using running = await startVm({ args });
    const { client } = running;
    const [second, first] = placesOfCard("0000:65:00.0", "0000:65:00.1");
    if (first === undefined || second === undefined) {
      throw new Error("a card has two places");
    }
    await add(client, second);
    const { isMultifunction: _, ...alone } = first;
    expect(await refusalIn(add(client, alone))).toBe("port-occupied");
    await add(client, first);
    expect(await refusalIn(add(client, { ...second, addr: "0.2", address: THIRD }))).toBe("port-occupied");
  });

  it(`lets go of what was added before function 0 ${mode === "natively" ? "at once: no guest is needed" : "when the guest answers"}`, async () => {
    await using running = await startVm({ args });
    const { client } = running;
    const [second] = placesOfCard("0000:65:00.0", "0000:65:00.1");
    if (second !== undefined) {
      await add(client, second);
    }
    const gone = client.waitFor("DEVICE_DELETED", (data) => data.device === "f1", { timeoutMs: 20_000 });
    const outcome = await requestUnplug(client, "f1", { waitMs: 200 });
    if (mode === "natively") {
      expect(outcome).toEqual({ kind: "done" });
    } else {
      expect(outcome).toEqual({ kind: "pending" });
      await client.execute("system_reset");
    }
    await gone;
    expect(await occupants(client)).toEqual([]);
  });

  it("leaves whole, whichever function is asked for", async () => {
    await using running = await startVm({ args });
    const { client } = running;
    for (const place of placesOfCard("0000:65:00.0", "0000:65:00.1")) {
      await add(client, place);
    }
    const gone = ["f0", "f1"].map((id) =>
      client.waitFor("DEVICE_DELETED", (data) => data.device === id, { timeoutMs: 20_000 }),
    );
    await requestUnplug(client, "f1", { waitMs: 200 });
    if (mode === "by ACPI") {
      // Nobody runs there who could answer: a reset completes it (facts.md 3.1).
      await client.execute("system_reset");
    }
    await Promise.all(gone);
    expect(await occupants(client)).toEqual([]);
  });
});
