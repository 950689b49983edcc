/** The places that a card with these functions gets in a VM with one free port. */

import { plan } from "../../src/core/plan.js";
import type { Place } from "../../src/core/port-choice.js";
import { aDevice, aLease, aPolicy, aPort, aRule, aWorld, up } from "./builders.js";

export function placesOfCard(...addresses: readonly string[]): readonly Place[] {
  const devices = addresses.map((address) => aDevice(address, { driver: "vfio-pci", iommuGroup: 1 }));
  const rule = aRule("card", { address: "*" }, "a", { unit: "card", plug: "card" });
  const world = aWorld({
    devices,
    policy: aPolicy([rule]),
    leases: devices.map((device) => aLease(device, "a")),
    vms: { a: up({ ports: [aPort("rp0")] }) },
  });
  return plan(world, "a").steps.flatMap((step) => (step.kind === "attach" ? step.placements : []));
}
