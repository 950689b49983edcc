/**
 * Real Linux guests in a real QEMU, without vfio: emulated cards stand in. What the guest sees is asked of the guest; what
 * QEMU and pciplug make of it is held against that (facts.md 2.2, 3, 7).
 */
import { setTimeout as delay } from "node:timers/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { reduce } from "../../src/core/reduce.js";
import type { Signal } from "../../src/core/signal.js";
import { guestUse } from "../../src/qemu/bars.js";
import { requestUnplug } from "../../src/qemu/detach.js";
import { pathOfId, readText } from "../../src/qemu/qom.js";
import { aPolicy, aWorld } from "../support/builders.js";
import { type GuestImage, GuestVm, provideGuestImage } from "../support/guest-vm.js";

const NIC = "8086:10d3";
const EDU = "1234:11e8";
const PORTS = "-device pcie-root-port,id=rp0,chassis=1,slot=1 -device pcie-root-port,id=rp1,chassis=2,slot=2";
const NATIVE = `-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off ${PORTS}`;
/** An agent that has not heard of any reset. */
const BEFORE = aWorld({ policy: aPolicy([]) });
/** A microvm under load may never measure its clock by itself (facts.md 3.4). */
const CLOCK = "tsc_early_khz=2000000";
const MINUTES = 180_000;
const GUARD_MS = 30_000;

let image: GuestImage;
beforeAll(() => {
  image = provideGuestImage();
}, 900_000);

async function until(what: string, isMet: () => Promise<boolean>): Promise<void> {
  for (const startedMs = performance.now(); !(await isMet()); await delay(50)) {
    if (performance.now() - startedMs > GUARD_MS) {
      throw new Error(`not so: ${what}`);
    }
  }
}

async function plug(guest: GuestVm, driver: string, id: string, bus: string, addr = "0"): Promise<void> {
  await guest.client.execute("device_add", { driver, id, bus, addr });
}

async function use(guest: GuestVm, id: string): Promise<boolean | undefined> {
  return guestUse(await guest.client.execute("query-pci")).get(id)?.isInUse;
}

async function isListed(guest: GuestVm, id: string): Promise<boolean> {
  return (await readText(guest.client, pathOfId(id), "type")) !== undefined;
}

/** The three facts: taken by QEMU, seen by the guest, and pciplug's evidence of that. */
async function plugAndSee(guest: GuestVm, bus: string, addr?: string): Promise<void> {
  await plug(guest, "e1000e", "nic", bus, addr);
  expect(await isListed(guest, "nic")).toBe(true);
  await until("the guest uses it", async () => (await use(guest, "nic")) === true);
  expect(await guest.lspci()).toContain(NIC);
}

/** Right after a plug a native slot blinks, and takes no request (facts.md 3.1). */
async function unplug(guest: GuestVm, waitMs: number): Promise<string> {
  for (;;) {
    const outcome = await requestUnplug(guest.client, "nic", { waitMs });
    if (outcome.kind !== "refused" || outcome.reason !== "guest-busy") {
      return outcome.kind;
    }
    await delay(500);
  }
}

async function unplugAndSee(guest: GuestVm, waitMs: number): Promise<void> {
  expect(await unplug(guest, waitMs)).toBe("done");
  expect(await guest.lspci()).not.toContain(NIC);
}

/** Asks a guest that has just booted until it has let go: what was pressed on its way up may be lost. */
async function untilGone(guest: GuestVm): Promise<void> {
  await until("the guest lists it again", async () => (await guest.lspci()).includes(NIC));
  await until("it is gone", async () => (await unplug(guest, 8_000)) === "done");
  expect(await guest.lspci()).not.toContain(NIC);
}

describe("a Linux guest on q35, where ACPI tells it", () => {
  it(
    "takes cards, lets go of them, and of none while it hangs",
    async () => {
      await using guest = await GuestVm.open({ image, machine: "q35", args: PORTS });
      const { client } = guest;
      await guest.boot();
      await plugAndSee(guest, "rp0");
      await unplugAndSee(guest, 10_000);

      // It has no driver for this one: it lists it, and nothing outside shows that.
      await plug(guest, "edu", "edu", "rp1");
      await until("the guest lists it", async () => (await guest.lspci()).includes(EDU));
      expect(await use(guest, "edu")).toBe(false);

      // While the machine stands still nobody answers; the answer comes when it goes on.
      await plugAndSee(guest, "rp0");
      await client.execute("stop");
      expect(await requestUnplug(client, "nic", { waitMs: 300 })).toEqual({ kind: "pending" });
      const late = client.waitFor("DEVICE_DELETED", ({ device }) => device === "nic", {
        timeoutMs: GUARD_MS,
      });
      await client.execute("cont");
      await late;
      expect(await guest.lspci()).not.toContain(NIC);

      // A reboot keeps what is plugged; a request on the way up may be lost, and is made again.
      await plugAndSee(guest, "rp0");
      const resets: Signal[] = [];
      const unlisten = client.onEvent((event) => {
        if (event.name === "RESET") {
          resets.push({
            kind: "vm-reset",
            atMs: event.timestampMs ?? 0,
            vm: "a",
            isByGuest: event.data.guest,
          });
        }
      });
      const reset = client.waitFor("RESET", () => true, { timeoutMs: GUARD_MS });
      guest.tell("reboot -f");
      await reset;
      const up = guest.booted();
      await requestUnplug(client, "edu", { waitMs: 100 });
      await up;
      unlisten();
      // As many RESETs as there are, they are one reboot to the agent.
      let world = BEFORE;
      const seen = resets.map((signal) => {
        world = reduce(world, signal);
        return world.resets.get("a");
      });
      expect(new Set(seen)).toEqual(new Set([{ atMs: expect.any(Number), isByGuest: true }]));
      await until("the guest uses it again", async () => (await use(guest, "nic")) === true);
      expect(await requestUnplug(client, "edu", { waitMs: 10_000 })).toEqual({ kind: "done" });

      // A guest that has panicked never answers; a reset completes what was asked.
      guest.tell("echo c > /proc/sysrq-trigger");
      await delay(500);
      expect(await requestUnplug(client, "nic", { waitMs: 1_000 })).toEqual({ kind: "pending" });
      expect(await requestUnplug(client, "nic", { waitMs: 1_000 })).toEqual({ kind: "pending" });
      const deleted = client.waitFor("DEVICE_DELETED", ({ device }) => device === "nic", {
        timeoutMs: GUARD_MS,
      });
      await client.execute("system_reset");
      await deleted;
      expect(await isListed(guest, "nic")).toBe(false);
    },
    MINUTES,
  );
});

describe("a Linux guest on q35, where the port itself tells it", () => {
  it(
    "lets go after its five seconds, not at all without its driver, and a reset does not help that",
    async () => {
      await using guest = await GuestVm.open({ image, machine: "q35", args: NATIVE });
      const { client } = guest;
      await guest.boot();
      await plugAndSee(guest, "rp0");
      await unplugAndSee(guest, 15_000);

      await plugAndSee(guest, "rp0");
      await guest.ask(
        "cd /sys/bus/pci_express/drivers/pciehp; for d in *:*; do echo $d > unbind; done; cd /",
      );
      expect(await unplug(guest, 500)).toBe("pending");
      expect(await unplug(guest, 500)).toBe("pending");
      const up = guest.booted();
      await client.execute("system_reset");
      expect(await isListed(guest, "nic")).toBe(true);
      await up;
      // Another guest, with its driver: the same request is answered.
      await untilGone(guest);
    },
    MINUTES,
  );
});

describe("a Linux guest on q35 that has panicked, where the port itself tells it", () => {
  it(
    "lets go of nothing, and of everything once it was reset and is up again",
    async () => {
      await using guest = await GuestVm.open({ image, machine: "q35", args: NATIVE });
      await guest.boot();
      // Right after a plug the slot blinks, and a guest that panics then leaves it blinking for ever.
      await plug(guest, "e1000e", "nic", "rp0");
      await until("the guest uses it", async () => (await use(guest, "nic")) === true);
      await guest.ask("sleep 2");
      guest.tell("echo c > /proc/sysrq-trigger");
      await delay(500);
      expect(await unplug(guest, 1_000)).toBe("pending");
      const up = guest.booted();
      await guest.client.execute("system_reset");
      await up;
      await untilGone(guest);
    },
    MINUTES,
  );
});

describe("a Linux guest on pc", () => {
  it(
    "takes a card on the root bus and lets go of it",
    async () => {
      await using guest = await GuestVm.open({ image, machine: "pc", args: "" });
      await guest.boot();
      await plugAndSee(guest, "pci.0", "5");
      await unplugAndSee(guest, 10_000);
    },
    MINUTES,
  );
});

describe("a Linux guest on microvm", () => {
  it(
    "takes a card and lets go of it with pcie_ports=native",
    async () => {
      await using guest = await GuestVm.open({
        image,
        machine: "microvm,pcie=on",
        args: PORTS,
        append: `${CLOCK} pcie_ports=native`,
      });
      await guest.boot();
      await plugAndSee(guest, "rp0");
      await unplugAndSee(guest, 15_000);
    },
    MINUTES,
  );

  it(
    "sees nothing without it: QEMU takes the card all the same, and lets go of it at once",
    async () => {
      await using guest = await GuestVm.open({
        image,
        machine: "microvm,pcie=on",
        args: PORTS,
        append: CLOCK,
      });
      await guest.boot();
      await plug(guest, "e1000e", "nic", "rp0");
      await delay(2_000);
      expect(await isListed(guest, "nic")).toBe(true);
      expect(await guest.lspci()).not.toContain(NIC);
      expect(await use(guest, "nic")).not.toBe(true);
      expect(await requestUnplug(guest.client, "nic", { waitMs: 5_000 })).toEqual({ kind: "done" });
    },
    MINUTES,
  );
});

describe("a card that is plugged before the guest runs", () => {
  it.each([
    ["by ACPI", PORTS],
    ["natively", NATIVE],
  ])(
    "is there once it has booted, %s",
    async (_, args) => {
      await using guest = await GuestVm.open({ image, machine: "q35", args });
      await plug(guest, "e1000e", "nic", "rp0");
      expect(await use(guest, "nic")).not.toBe(true);
      await guest.boot();
      await until("the guest uses it", async () => (await use(guest, "nic")) === true);
      expect(await guest.lspci()).toContain(NIC);
    },
    MINUTES,
  );
});
