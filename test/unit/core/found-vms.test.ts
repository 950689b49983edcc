/** Which VMs a policy has once its patterns are filled in. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FoundVm, isVmName, withFoundVms } from "../../../src/core/found-vms.js";
import type { Policy } from "../../../src/core/policy.js";
import { adoptFoundVms, adoptPolicy } from "../../../src/core/reload.js";
import { aPolicy, aRule, aWorld, up } from "../../support/builders.js";

const first = "/var/lib/microvms/{vm}/hotplug.sock";
const second = "/run/vms/{vm}.sock";
const listener = { user: "microvm", executable: "qemu-system-*" };
const written = { name: "own", qmp: "/run/own.sock" };

function policyOf(rules: readonly string[], facts: Partial<Policy> = {}): Policy {
  return aPolicy(
    rules.map((vm) => aRule(`for-${vm}`, { class: "display" }, vm)),
    {
      vms: [written],
      vmPatterns: [
        { qmp: first, monitor: "shared", listener },
        { qmp: second, listener },
      ],
      ...facts,
    },
  );
}

const at = (pattern: string, ...names: string[]): FoundVm[] => names.map((name) => ({ name, pattern }));
const placesOf = (policy: Policy) => policy.vms.map(({ name, qmp }) => `${name} ${qmp}`);

describe("the VMs of a policy with patterns", () => {
  it("are those of the file, those that rules name, and those that are there", () => {
    const policy = withFoundVms(policyOf(["own", "net"]), at(second, "zoo", "lab"));
    expect(placesOf(policy)).toEqual([
      "own /run/own.sock",
      "net /var/lib/microvms/net/hotplug.sock",
      "lab /run/vms/lab.sock",
      "zoo /run/vms/zoo.sock",
    ]);
    expect(policy.vms[1]).toEqual({
      name: "net",
      qmp: "/var/lib/microvms/net/hotplug.sock",
      pattern: first,
      monitor: "shared",
      listener,
    });
  });

  it("are where their socket is; in both places, where the file says so first", () => {
    expect(placesOf(withFoundVms(policyOf(["net"]), at(second, "net")))[1]).toBe("net /run/vms/net.sock");
    const both = [...at(second, "net"), ...at(first, "net")];
    expect(placesOf(withFoundVms(policyOf(["net"]), both))[1]).toBe("net /var/lib/microvms/net/hotplug.sock");
  });

  it("never take the name of a VM with an entry of its own", () => {
    expect(placesOf(withFoundVms(policyOf(["own"]), at(first, "own")))).toEqual(["own /run/own.sock"]);
  });

  it("are those of the file alone where it has no patterns", () => {
    const policy = policyOf(["own"], { vmPatterns: [] });
    expect(withFoundVms(policy, at(first, "a")).vms).toEqual(policy.vms);
  });

  it("do not depend on the order in which sockets came, nor on what was there before", () => {
    const all = [...at(first, "a", "b"), ...at(second, "b", "c", "net")];
    const wanted = withFoundVms(policyOf(["net"]), all);
    fc.assert(
      fc.property(fc.shuffledSubarray(all, { minLength: all.length }), fc.subarray(all), (found, before) => {
        expect(withFoundVms(withFoundVms(policyOf(["net"]), before), found).vms).toEqual(wanted.vms);
      }),
    );
  });

  it("may have names of letters, digits and a few signs, and no others", () => {
    expect(["a", "A.b_c-9", "0", "x".repeat(64)].map(isVmName)).toEqual([true, true, true, true]);
    const bad = ["", "-a", ".", "..", ".a", "a/b", "a b", "a\n", "ä", "x".repeat(65), "{vm}", "@host"];
    expect(bad.filter(isVmName)).toEqual([]);
  });
});

describe("the world whose VMs are found", () => {
  const policy = withFoundVms(policyOf(["net"]), []);
  const found = [...at(first, "net", "lab")];

  it("knows them until they are gone, and forgets what it saw of those", () => {
    const world = adoptFoundVms(aWorld({ policy, vms: { net: up(), lab: up(), own: up() } }), found);
    expect(world.policy?.vms.map(({ name }) => name)).toEqual(["own", "net", "lab"]);
    const vmErrors = new Map([["lab", { atMs: 1, message: "x" }]]);
    const later = adoptFoundVms({ ...world, vmErrors }, at(first, "net"));
    expect(later.policy?.vms.map(({ name }) => name)).toEqual(["own", "net"]);
    expect([...later.vms.keys()]).toEqual(["net", "own"]);
    expect(later.vmErrors.size).toBe(0);
  });

  it("is the same world when the same VMs are found again", () => {
    const world = adoptFoundVms(aWorld({ policy }), found);
    expect(adoptFoundVms(world, [...found])).toBe(world);
  });

  it("keeps them over a new policy that has the pattern, with what was seen", () => {
    const world = adoptFoundVms(aWorld({ policy, vms: { lab: up() } }), found);
    const seen = { ...world, vms: new Map([["lab", up()]]) };
    const other = adoptPolicy(seen, { ...policyOf([]), version: "v2" });
    expect(other.policy?.vms.map(({ name }) => name)).toEqual(["own", "lab", "net"]);
    expect(other.vms.get("lab")?.kind).toBe("up");
    const without = adoptPolicy(seen, policyOf([], { vmPatterns: [], version: "v3" }));
    expect(without.policy?.vms.map(({ name }) => name)).toEqual(["own"]);
    expect(without.vms.size).toBe(0);
  });

  it("remembers them also before there is a policy", () => {
    const world = adoptFoundVms({ ...aWorld(), policy: null }, found);
    expect(adoptPolicy(world, policy).policy?.vms.map(({ name }) => name)).toEqual(["own", "net", "lab"]);
  });
});
