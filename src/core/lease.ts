/**
 * The two durable notes about a device: the lease (what we changed on the host for which VM) and the hold
 * (do not give this device to that VM for now). Both name one appearance of one card in one boot.
 */
import type { PciAddress } from "./address.js";
import { type Device, type Identity, identityOf, isSameIdentity } from "./device.js";
import type { Rule } from "./policy.js";

/** What a device was before the first write: what release goes back to. */
export interface OriginalState {
  readonly driver: string | null;
  /** Text of driver_override; `null` when it was unset. */
  readonly override: string | null;
}

/** What a lease remembers of the rule that made it: the rule may be gone when the device is given back. */
export interface LeaseTerms {
  readonly rule: string;
  /** Where the device goes from its VM; absent: back to the host. */
  readonly release?: "vfio" | "quarantine";
  /** Whether the device stays where it is when its rule goes. */
  readonly isKeptWithoutRule?: true;
}

/** The terms of a rule. */
export function termsOf(rule: Pick<Rule, "name" | "release" | "onRuleGone">): LeaseTerms {
  const { name, release, onRuleGone } = rule;
  return {
    rule: name,
    ...(release === "host" ? {} : { release }),
    ...(onRuleGone === "keep" ? { isKeptWithoutRule: true } : {}),
  };
}

/** Whether a lease says what its rule says. */
export function isSameTerms(lease: LeaseTerms, terms: LeaseTerms): boolean {
  return lease.release === terms.release && lease.isKeptWithoutRule === terms.isKeptWithoutRule;
}

/** The lease on other terms. */
export function withTerms({ release: _, isKeptWithoutRule: __, ...lease }: Lease, terms: LeaseTerms): Lease {
  return { ...lease, ...terms };
}

/** "This device belongs to that VM": written before the first change to the host, ended when it is given back. */
export interface Lease extends LeaseTerms {
  readonly address: PciAddress;
  readonly vm: string;
  /** `claimed`: for the VM; `companion`: a neighbour in the IOMMU group, only kept from host drivers. */
  readonly role: "claimed" | "companion";
  /** The kernel's boot id: a lease of another boot is never acted upon (semantics.md 4 and 5). */
  readonly bootId: string;
  readonly identity: Identity;
  /** PCIe device serial number, as lspci writes it; absent where the device has none or it could not be read. */
  readonly serial?: string;
  /** See {@link Device.appearance}. */
  readonly appearance: string;
  /** `null` when it is not known: a device adopted from a VM without a ledger entry. */
  readonly original: OriginalState | null;
  /** Owner that the IOMMU group's vfio node had before we gave it to QEMU's user; absent when not changed. */
  readonly nodeOwner?: { readonly uid: number; readonly gid: number };
}

/** Whether a lease speaks of the very card that is there now. */
export function isLeaseOf(lease: Lease, device: Device | undefined): boolean {
  return (
    device !== undefined &&
    lease.appearance === device.appearance &&
    isSameIdentity(lease.identity, identityOf(device))
  );
}

/** The device as rules see it: with the host driver that it had, while a lease says which. */
export function asLent(device: Device, lease: Lease | undefined): Device {
  const { lent: _, ...plain } = device;
  if (lease === undefined || !isLeaseOf(lease, device)) {
    return device.lent === undefined ? device : plain;
  }
  const { original } = lease;
  return { ...plain, lent: original === null ? {} : { driver: original.driver } };
}

/** "Do not give this device to that VM": semantics.md 5. */
export interface Hold {
  readonly address: PciAddress;
  readonly vm: string;
  readonly appearance: string;
  /** The QEMU process that it speaks of; another process ends the hold. `null` when it was not known. */
  readonly process: string | null;
  readonly cause: "ejected-by-guest" | "driver-changed";
  /** For people: what was seen. */
  readonly detail: string;
  readonly atMs: number;
}
