/**
 * What the host's network stands on, in PID 1's network namespace: default routes, connections, addresses, and every
 * interface that is up. Kernel ABI: sysfs-class-net (`flags`, `lower_*`); none of what is read waits for a driver.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { PciAddress } from "../core/address.js";
import { readTextIfAny } from "./device-facts.js";
import {
  type IpAddress,
  interfacesTo,
  isDefault,
  isLinkLocal,
  parseAddresses6,
  parseConnections,
  parseIp,
  parseRoutes,
  parseRoutes6,
  type Route,
} from "./network-table.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { HostRoot } from "./root.js";
import { behindLink, functionsOn, namesIn, textIfThere } from "./sysfs-tree.js";

/** First bit of an interface's flags (netdevice(7)): IFF_UP. */
const UP = 1;

export class HostNetwork {
  readonly #root: HostRoot;
  readonly #notes: ProtectionNotes;
  /** Interfaces that sysfs shows -> their folders. */
  readonly #folders = new Map<string, string>();
  #routes: readonly Route[] = [];
  #addresses: readonly { readonly name: string; readonly address: IpAddress }[] = [];

  constructor(root: HostRoot, notes: ProtectionNotes) {
    this.#root = root;
    this.#notes = notes;
    notes.attempt("network", "interfaces", () => this.#readInterfaces());
    notes.attempt("network", "routes and addresses", () => this.#readTables());
  }

  /** Functions that have an interface which can be seen. */
  get withInterface(): readonly PciAddress[] {
    return [...new Set([...this.#folders.values()].flatMap(functionsOn))];
  }

  /** Ids of the interfaces through which a server is reached; none where that cannot be told. */
  carriersTo(server: string): readonly string[] {
    const address = parseIp(server);
    return address === undefined
      ? []
      : interfacesTo(this.#routes, address).map((name) => this.#interface(name));
  }

  /** Notes what the host uses its interfaces for. */
  gather(): void {
    const defaults = new Set(this.#routes.filter(isDefault).map(({ name }) => name));
    for (const name of defaults) {
      this.#notes.use(this.#interface(name), "the default route");
    }
    this.#notes.attempt("network", "connections", () => this.#connections(defaults));
    for (const name of this.#addressed()) {
      this.#notes.use(this.#interface(name), "an address of the host", {
        level: "soft-unless-stacked",
        isGrounded: false,
      });
    }
    this.#upOnes();
  }

  #readInterfaces(): void {
    for (const name of namesIn(this.#root.networkInterfaces())) {
      // Among the interfaces is a file or two, such as bonding_masters.
      const folder = behindLink(join(this.#root.networkInterfaces(), name));
      if (folder !== undefined && name !== "lo") {
        this.#folders.set(name, folder);
      }
    }
    for (const line of textIfThere(this.#root.proc(1, "net", "dev"))
      .split("\n")
      .slice(2)) {
      const name = /^\s*(\S+):/.exec(line)?.[1] ?? "lo";
      if (name !== "lo" && !this.#folders.has(name)) {
        const detail = `PID 1 has the interface ${name}, which sysfs does not show here`;
        this.#notes.cannotTell("network", detail, true);
      }
    }
  }

  #readTables(): void {
    const routes = readFileSync(this.#root.proc(1, "net", "route"), "latin1");
    const routes6 = textIfThere(this.#root.proc(1, "net", "ipv6_route"));
    this.#routes = [...parseRoutes(routes), ...parseRoutes6(routes6)].filter(({ name }) => name !== "lo");
    const inet6 = textIfThere(this.#root.proc(1, "net", "if_inet6"));
    this.#addresses = parseAddresses6(inet6).filter(({ name }) => name !== "lo");
  }

  /** Walks down through bridge, bond, VLAN and macvlan as far as sysfs shows them. */
  #interface(name: string): string {
    const folder = this.#folders.get(name);
    if (folder === undefined) {
      return this.#notes.carrier(`net/${name}`, () => ({
        label: name,
        on: [],
        functions: [],
        otherwise: ["network"],
      }));
    }
    return this.#notes.carrier(`net/${name}`, () => ({
      label: name,
      on: namesIn(folder).flatMap((entry) => {
        const lower = /^lower_(.+)$/.exec(entry)?.[1];
        return lower === undefined ? [] : [this.#interface(lower)];
      }),
      functions: functionsOn(folder),
      otherwise: ["network"],
    }));
  }

  /** Interfaces that are up and nothing more. What such a one stands on is up by itself, so it need not be followed. */
  #upOnes(): void {
    for (const [name, folder] of this.#folders) {
      const functions = functionsOn(folder);
      const isKnown = functions.length === 0 || this.#notes.isUsed(`net/${name}`);
      if (!isKnown && (Number(readTextIfAny(`${folder}/flags`) ?? 0) & UP) !== 0) {
        const id = this.#notes.carrier(`link/${name}`, () => ({
          label: name,
          on: [],
          functions,
          otherwise: [],
        }));
        this.#notes.use(id, "a network link that is up", { level: "soft", isGrounded: false });
      }
    }
  }

  /** Interfaces with an address that reaches further than the link. */
  #addressed(): ReadonlySet<string> {
    const routed = this.#routes.filter(({ network }) => network.bits === 32 && !isLinkLocal(network));
    const addresses6 = this.#addresses.filter(({ address }) => !isLinkLocal(address));
    return new Set([...routed, ...addresses6].map(({ name }) => name));
  }

  /** A long table: it is read only while there is an interface about which it could say something new. */
  #connections(known: ReadonlySet<string>): void {
    const candidates = [...this.#routes, ...this.#addresses].filter(({ name }) => !known.has(name));
    if (candidates.length === 0) {
      return;
    }
    const texts = ["tcp", "tcp6"].map((file) => textIfThere(this.#root.proc(1, "net", file)));
    const names = new Set<string>();
    for (const { local, remote } of parseConnections(...texts)) {
      const own = this.#addresses.filter(
        ({ address }) => address.bits === local.bits && address.value === local.value,
      );
      const direct = this.#routes.filter(({ isDirect, prefixLength }) => isDirect && prefixLength > 0);
      const near = own.length > 0 ? own.map(({ name }) => name) : interfacesTo(direct, local);
      for (const name of [...near, ...interfacesTo(this.#routes, remote)]) {
        names.add(name);
      }
    }
    for (const name of names) {
      this.#notes.use(this.#interface(name), "an established connection of the host", { isGrounded: false });
    }
  }
}
