/** One device into a VM and out again, on the simulated QEMU: every answer there is. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PciAddress, parseAddress } from "../../src/core/address.js";
import type { Placement } from "../../src/core/step.js";
import { attachDevice } from "../../src/qemu/attach.js";
import { detachDevice } from "../../src/qemu/detach.js";
import { readView } from "../../src/qemu/view.js";
import { connectQmp, type QmpClient } from "../../src/qmp/index.js";
import { createSimulation, type Simulation } from "../../src/sim/fleet.js";
import type { SimQemu } from "../../src/sim/qemu.js";
import { simFolder } from "../support/sim-client.js";

const CARD = parseAddress("0000:65:00.0") as PciAddress;
const OTHER = parseAddress("0000:66:00.0") as PciAddress;
const ID = "pciplug-0000-65-00.0";
const PLACEMENT: Placement = { address: CARD, id: ID, bus: "rp0", addr: "0", rule: "r", properties: {} };
const DEPARTING = { id: ID, address: CARD };

let folder: ReturnType<typeof simFolder>;
let simulation: Simulation;
let vm: SimQemu;
let client: QmpClient;

beforeEach(async () => {
  folder = simFolder();
  simulation = await createSimulation({
    dir: folder.dir,
    cards: [
      { address: CARD, driver: "vfio-pci" },
      { address: OTHER, driver: "vfio-pci" },
    ],
    vms: [{ name: "a", ports: [{ id: "rp0" }, { id: "rp1" }] }],
  });
  vm = simulation.vm("a");
  client = await connectQmp({ path: vm.socketPath });
});

afterEach(async () => {
  await client.close();
  await simulation[Symbol.asyncDispose]();
  folder.remove();
});

describe("attaching", () => {
  it("puts the device at the wanted bus and address, and reads it back", async () => {
    expect(await attachDevice(client, PLACEMENT)).toEqual({ kind: "done" });
    const sent = vm.commands.find((command) => command.name === "device_add");
    expect(sent?.arguments).toEqual({ driver: "vfio-pci", host: CARD, id: ID, bus: "rp0", addr: "0" });
    expect((await readView(client, null)).attached).toMatchObject([
      {
        path: `/machine/peripheral/${ID}`,
        id: ID,
        address: CARD,
        bus: "rp0",
        devfn: 0,
        mode: "acpi",
        canUnplug: true,
      },
    ]);
  });

  it("is done when the very same device is there already under its id", async () => {
    await attachDevice(client, PLACEMENT);
    expect(await attachDevice(client, { ...PLACEMENT, bus: "rp1" })).toEqual({
      kind: "done",
      detail: "it was there already, at bus rp0",
    });
  });

  it("says who has the device when it is there under another id", async () => {
    await attachDevice(client, { ...PLACEMENT, id: "theirs" });
    expect(await attachDevice(client, { ...PLACEMENT, bus: "rp1" })).toMatchObject({
      kind: "refused",
      reason: "already-attached",
      detail: expect.stringContaining(`theirs is ${CARD} at bus rp0`),
    });
  });

  it("says what the id stands for when another device has it", async () => {
    await attachDevice(client, { ...PLACEMENT, address: OTHER });
    expect(await attachDevice(client, { ...PLACEMENT, bus: "rp1" })).toMatchObject({
      kind: "refused",
      reason: "id-in-use",
      detail: expect.stringContaining(`${ID} is ${OTHER} at bus rp0`),
    });
  });

  it("is refused, and worth another try, when the port was taken meanwhile", async () => {
    await attachDevice(client, { ...PLACEMENT, address: OTHER, id: "other" });
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({
      kind: "refused",
      reason: "port-occupied",
    });
  });

  it("notices a device that leaves straight after it came", async () => {
    vm.intercept("qom-get", () => {
      vm.emitEvent("DEVICE_DELETED", { device: ID, path: `/machine/peripheral/${ID}` });
      return undefined;
    });
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({
      kind: "failed",
      code: "qemu.left-at-once",
    });
  });

  it("notices a device that QEMU took but does not list", async () => {
    vm.intercept("device_add", () => ({ return: {} }));
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({
      kind: "failed",
      code: "qemu.left-at-once",
    });
  });

  it("notices a device that QEMU put elsewhere", async () => {
    await client.execute("device_add", { driver: "vfio-pci", host: OTHER, id: ID, bus: "rp1", addr: "0" });
    vm.intercept("device_add", () => ({ return: {} }));
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({ kind: "failed", code: "qemu.misplaced" });
  });

  it("does not know what happened when the link dies under the command", async () => {
    vm.intercept("device_add", () => "close");
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({ kind: "timed-out" });
  });

  it("does not know what happened when the link dies before it could be read back", async () => {
    vm.intercept("qom-get", () => "close");
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({ kind: "timed-out" });
  });

  it("is cancelled when nothing was sent", async () => {
    await client.close();
    expect(await attachDevice(client, PLACEMENT)).toMatchObject({ kind: "cancelled" });
  });
});

describe("detaching", () => {
  it("is done when the guest lets go in time", async () => {
    await attachDevice(client, PLACEMENT);
    expect(await detachDevice(client, DEPARTING)).toEqual({ kind: "done" });
    expect(vm.attached()).toEqual([]);
  });

  it("is done when the device is not there any more, without asking anybody", async () => {
    expect(await detachDevice(client, DEPARTING)).toMatchObject({ kind: "done" });
    expect(vm.commands.map((command) => command.name)).not.toContain("device_del");
  });

  it("is done when the device goes between the look and the request", async () => {
    await attachDevice(client, PLACEMENT);
    vm.intercept("device_del", () => {
      vm.ejectFromGuest(ID);
      return { error: { class: "DeviceNotFound", desc: `Device '${ID}' not found` } };
    });
    expect(await detachDevice(client, DEPARTING)).toEqual({ kind: "done" });
  });

  it("is pending when the guest takes its time, and when it is asked again", async () => {
    vm.setGuest({ behaviour: "refuses" });
    await attachDevice(client, PLACEMENT);
    expect(await detachDevice(client, DEPARTING, { waitMs: 20 })).toEqual({ kind: "pending" });
    vm.intercept("device_del", () => ({
      error: { class: "GenericError", desc: `Device ${ID} is already in the process of unplug` },
    }));
    expect(await detachDevice(client, DEPARTING, { waitMs: 20 })).toEqual({ kind: "pending" });
    expect(vm.attached()).toEqual([CARD]);
  });

  it("is not done on an event alone while QEMU still lists the device", async () => {
    vm.setGuest({ behaviour: "refuses" });
    await attachDevice(client, PLACEMENT);
    vm.intercept("device_del", () => {
      vm.emitEvent("DEVICE_DELETED", { device: ID, path: `/machine/peripheral/${ID}` });
      return { return: {} };
    });
    expect(await detachDevice(client, DEPARTING)).toEqual({ kind: "pending" });
  });

  it("is refused, and worth another try, while the power indicator blinks", async () => {
    await attachDevice(client, PLACEMENT);
    const desc = "Hot-unplug failed: guest is busy (power indicator blinking)";
    vm.intercept("device_del", () => ({ error: { class: "GenericError", desc } }));
    expect(await detachDevice(client, DEPARTING)).toEqual({
      kind: "refused",
      reason: "guest-busy",
      detail: desc,
    });
  });

  it("is refused when the guest says no, without waiting any longer", async () => {
    vm.setGuest({ behaviour: "refuses" });
    await attachDevice(client, PLACEMENT);
    vm.intercept("device_del", () => {
      vm.emitEvent("DEVICE_UNPLUG_GUEST_ERROR", { device: ID, path: `/machine/peripheral/${ID}` });
      return { return: {} };
    });
    // Far longer than the test may take: the event ends the wait.
    expect(await detachDevice(client, DEPARTING, { waitMs: 600_000 })).toMatchObject({
      kind: "refused",
      reason: "guest-refused",
      detail: "the guest refused the unplug",
    });
  });

  it("never asks for a device that only has the id of the wanted one", async () => {
    await attachDevice(client, { ...PLACEMENT, address: OTHER });
    expect(await detachDevice(client, DEPARTING)).toMatchObject({
      kind: "refused",
      reason: "id-in-use",
      detail: `${ID} is ${OTHER}, not ${CARD}`,
    });
    expect(vm.commands.map((command) => command.name)).not.toContain("device_del");
  });

  it("does not know what happened when QEMU dies while it is waited for", async () => {
    vm.setGuest({ behaviour: "refuses" });
    await attachDevice(client, PLACEMENT);
    vm.intercept("device_del", () => {
      setImmediate(() => void vm.kill());
      return { return: {} };
    });
    expect(await detachDevice(client, DEPARTING, { waitMs: 50 })).toMatchObject({ kind: "timed-out" });
  });

  it("takes the QOM path of a device without an id", async () => {
    await client.execute("device_add", { driver: "vfio-pci", host: CARD, bus: "rp0", addr: "0" });
    const [attached] = (await readView(client, null)).attached;
    expect(attached).toMatchObject({ id: null, address: CARD, bus: "rp0" });
    expect(await detachDevice(client, { id: attached?.path ?? "", address: CARD })).toEqual({ kind: "done" });
  });
});
