/** The devices as `status` tells of them. */
import type { PciAddress } from "./address.js";
import { isOnVfio } from "./device.js";
import { describeHeld } from "./held-text.js";
import { isOurs } from "./occupancy.js";
import { type Passage, passageOf } from "./passage.js";
import { planAll } from "./plan.js";
import { type Scene, setScene } from "./scene.js";
import type { World } from "./world.js";

/** Where a device that a rule speaks of, or that a VM has, is on its way. */
export type DeviceState = "attached" | "foreign" | "bound" | "waiting" | "held";

export interface DeviceReport {
  readonly address: PciAddress;
  readonly vendor: string | null;
  readonly device: string | null;
  readonly class: string | null;
  readonly driver: string | null;
  readonly iommuGroup: number | null;
  readonly vm: string | null;
  readonly state: DeviceState;
  readonly held: string | null;
  /** Left out for a device that is only spoken of. */
  readonly passage?: Passage;
}

/** Every device that a rule speaks of, that is leased, or that a VM has, in address order. */
export function reportDevices(world: World, scene: Scene = setScene(world)): readonly DeviceReport[] {
  const held = new Map(planAll(world, scene).held.map((entry) => [entry.address, entry] as const));
  return [...world.devices.values()].flatMap((device) => {
    const occupant = scene.taken.get(device.address);
    const lease = world.leases.get(device.address);
    const found = scene.assignment.findings.get(device.address);
    if (occupant === undefined && lease === undefined && found === undefined) {
      return [];
    }
    const waiting = held.get(device.address);
    const passage = passageOf(world, scene.taken, device.address);
    return [
      {
        address: device.address,
        vendor: device.vendor ?? null,
        device: device.device ?? null,
        class: device.class ?? null,
        driver: device.driver ?? null,
        iommuGroup: device.iommuGroup ?? null,
        vm: occupant?.vm ?? lease?.vm ?? scene.assignment.byDevice.get(device.address)?.vm ?? null,
        state: deviceState(scene, device.address, waiting !== undefined),
        held: waiting === undefined ? null : describeHeld(waiting.reason),
        ...(passage === undefined ? {} : { passage }),
      },
    ];
  });
}

function deviceState(scene: Scene, address: PciAddress, isHeld: boolean): DeviceState {
  const { world, taken } = scene;
  const occupant = taken.get(address);
  if (occupant !== undefined) {
    return isOurs(world, occupant.vm, occupant.entry) ? "attached" : "foreign";
  }
  const device = world.devices.get(address);
  if (world.leases.has(address) && device !== undefined && isOnVfio(device)) {
    return "bound";
  }
  return isHeld ? "held" : "waiting";
}
