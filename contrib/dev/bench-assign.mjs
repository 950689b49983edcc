// The pure core in figures: who gets what among very many devices, rules and VMs, from scratch and after one event.
import { readdirSync, readFileSync } from "node:fs";
import { parseConfig } from "../../dist/config/load.js";
import { parseAddress } from "../../dist/core/address.js";
import { assign } from "../../dist/core/assign.js";
import { FindingsCache } from "../../dist/core/findings.js";
import { assumeIommuGroups } from "../../dist/core/iommu-group.js";
import { planAll } from "../../dist/core/plan.js";
import { SceneCache, setScene } from "../../dist/core/scene.js";
import { emptyWorld } from "../../dist/core/world.js";
import { parseRecording } from "../../dist/host/recording.js";

const DEVICES = 4096;
const RULES = 1000;
const VMS = 64;
const RECORDED_RULES = 50;
const BUSES = 256;

const hex = (value, digits) => value.toString(16).padStart(digits, "0");
const addressAt = (index) => `0000:${hex(index >> 4, 2)}:${hex((index >> 1) & 7, 2)}.${index & 1}`;
const kinds = [
  ["10de", "2204", "030000"],
  ["8086", "1572", "020000"],
  ["144d", "a808", "010802"],
  ["1002", "740f", "120000"],
];

/** Sixteen devices on each of 256 buses. Made up. */
export function manyDevices() {
  return Array.from({ length: DEVICES }, (_, index) => {
    const [vendor, device, code] = kinds[index % kinds.length];
    const facts = { vendor, device, class: code, driver: "host", iommuGroup: index, numaNode: index & 1 };
    return {
      ...facts,
      address: parseAddress(addressAt(index)),
      physfn: null,
      parent: null,
      appearance: `${index}`,
    };
  });
}

/** Rules of every kind and mode, each VM with buses of its own. */
function manyRules() {
  return Array.from({ length: RULES }, (_, index) => {
    const bus = hex(index % BUSES, 2);
    const vm = `vm-${(index % BUSES) % VMS}`;
    const name = `rule-${index}`;
    const round = Math.floor(index / BUSES);
    const match = [
      { address: `0000:${bus}:0[0-3].*` },
      { address: `*:${bus}:??.0`, class: ["vga", "ethernet"] },
      { address: `0000:${bus}:*`, vendor: "10de", device: "2204" },
      { address: `0000:${bus}:0[4-7].?`, vendor: ["8086", "144d"] },
    ][round];
    if (round === 2) {
      return { name, match, mode: "select", count: "1-2", prefer: ["numa", "memory"], vm };
    }
    return round === 3
      ? { name, match, mode: "group", by: "numaNode", to: { 0: vm, 1: vm } }
      : { name, match, vm };
  });
}

function policyOf(rules, vms) {
  const parsed = parseConfig(
    JSON.stringify({
      vms: vms.map((name) => ({ name, qmp: `/run/${name}.sock`, numaNode: 1 })),
      rules,
    }),
    "bench.json",
  );
  if (!parsed.ok) {
    throw new Error(JSON.stringify(parsed.error));
  }
  return parsed.value.policy;
}

function worldOf(devices, policy) {
  return {
    ...emptyWorld,
    nowMs: 1,
    bootId: "boot",
    isHostSeen: true,
    policy,
    devices: new Map(devices.map((device) => [device.address, device])),
  };
}

/** Worlds in which one device after the other has changed. */
function eventsIn(world, devices, count) {
  let current = world;
  return Array.from({ length: count }, (_, index) => {
    const device = devices[(index * 97) % devices.length];
    current = {
      ...current,
      devices: new Map(current.devices).set(device.address, { ...device, driver: null }),
    };
    return current;
  });
}

/** Largest recorded machine, with rules over its vendors, classes and buses. */
function recordedWorld(root) {
  const folder = `${root}/fixtures/hosts`;
  const pictures = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .map((name) => ({ name, picture: parseRecording(readFileSync(`${folder}/${name}`, "utf8"), name) }))
    .sort((a, b) => b.picture.devices.length - a.picture.devices.length);
  const [{ name, picture }] = pictures;
  const devices = assumeIommuGroups(picture.devices);
  const rules = Array.from({ length: RECORDED_RULES }, (_, index) => {
    // Each NUMA node is a VM's own, so that what is measured is giving and not only conflicts.
    const { vendor, device, address, numaNode } = devices[(index * 7) % devices.length];
    const node = `${numaNode}`;
    const match = [
      { address },
      { vendor, device, address: "*:??:*", numaNode: node },
      { class: "3d", numaNode: node },
    ][index % 3];
    const rule = { name: `rule-${index}`, match, vm: `vm-${node}` };
    return index % 3 === 2 ? { ...rule, mode: "select", count: "1-2" } : rule;
  });
  const policy = policyOf(rules, ["vm-0", "vm-1"]);
  return { name: name.replace(".json", ""), world: worldOf(devices, policy) };
}

function measure(world, what, { report, median, timed }, root) {
  const times = Array.from({ length: 9 }, () => timed(() => assign(world)));
  const { units, held } = assign(world);
  const about = {
    devices: world.devices.size,
    rules: world.policy.rules.length,
    vms: world.policy.vms.length,
    units: units.length,
    held: held.length,
    ...root,
  };
  report(`assign ${what}, first time in the process`, times[0], "ms", about);
  report(`assign ${what}`, median(times), "ms", { ...about, statistic: "median of 9" });
  return about;
}

/** Prints all figures of the pure core. */
export function benchAssign(tools, root) {
  const { report, median, timed, say } = tools;
  say(`assigning ${DEVICES} devices by ${RULES} rules to ${VMS} VMs ...`);
  const vms = Array.from({ length: VMS }, (_, index) => `vm-${index}`);
  const devices = manyDevices();
  const world = worldOf(devices, policyOf(manyRules(), vms));
  const about = measure(world, "from scratch", tools, {});

  const cache = new FindingsCache();
  assign(world, cache.of(world));
  const times = eventsIn(world, devices, 50).map((next) => timed(() => assign(next, cache.of(next))));
  report("assign after one device changed", median(times), "ms", { ...about, statistic: "median of 50" });

  const plans = Array.from({ length: 5 }, () => timed(() => planAll(world, setScene(world))));
  report("plan of all lanes from scratch", median(plans), "ms", { ...about, statistic: "median of 5" });
  const scenes = new SceneCache();
  planAll(world, scenes.of(world));
  const again = eventsIn(world, devices, 50).map((next) => timed(() => planAll(next, scenes.of(next))));
  report("plan of all lanes after one device changed", median(again), "ms", {
    ...about,
    statistic: "median of 50",
  });

  const recorded = recordedWorld(root);
  measure(recorded.world, "on the largest recorded machine", tools, { machine: recorded.name });
}
