/**
 * The tables of a network namespace in /proc/PID/net: routes, addresses, connections. Pure.
 *
 * `route` and `tcp` write addresses as integers of the machine (kernel: fib_route_seq_show, get_tcp4_sock), `ipv6_route`
 * and `if_inet6` as they stand in a packet. Here every address is a bigint of 32 or 128 bits as in a packet.
 */
import { endianness } from "node:os";

/** An IPv4 or IPv6 address, or the network part of one. */
export interface IpAddress {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

export interface Route {
  readonly name: string;
  readonly network: IpAddress;
  readonly prefixLength: number;
  /** Whether hosts of this network are reached without a gateway. */
  readonly isDirect: boolean;
  readonly metric: number;
}

/** One end-to-end connection. */
export interface Connection {
  readonly local: IpAddress;
  readonly remote: IpAddress;
}

/** Longest prefix that still counts as "everything": VPNs split a default route in two, or route 2000::/3. */
const WIDEST = { 32: 1, 128: 3 } as const;
const ESTABLISHED = "01";
const REJECT = 0x200;
/** ::ffff:0:0/96 and fe80::/10. */
const MAPPED = 0xffffn;
const LINK_LOCAL_6 = 0xfe80n >> 6n;
const LINK_LOCAL_4 = 0xa9fen;

/** Routes of /proc/PID/net/route. Those that refuse have no interface. */
export function parseRoutes(text: string): Route[] {
  return linesOf(text).flatMap((line) => {
    const [name = "", network = "", gateway = "", flags = "0", , , metric, mask = ""] = line.split(/\s+/);
    if (!isHex(network, 8) || !isHex(gateway, 8) || !isHex(mask, 8)) {
      return [];
    }
    return (Number.parseInt(flags, 16) & REJECT) !== 0
      ? []
      : [
          {
            name,
            network: { bits: 32 as const, value: word(network) },
            prefixLength: ones(word(mask)),
            isDirect: word(gateway) === 0n,
            metric: Number(metric),
          },
        ];
  });
}

/** Routes of /proc/PID/net/ipv6_route; the kernel keeps those that refuse, and its own addresses, on `lo`. */
export function parseRoutes6(text: string): Route[] {
  return text.split("\n").flatMap((line) => {
    const [network = "", prefix = "", , , gateway = "", metric = "", , , flags = "0", name] = line
      .trim()
      .split(/\s+/);
    if (name === undefined || name === "lo" || !isHex(network, 32) || !isHex(gateway, 32)) {
      return [];
    }
    return (Number.parseInt(flags, 16) & REJECT) !== 0
      ? []
      : [
          {
            name,
            network: { bits: 128 as const, value: BigInt(`0x${network}`) },
            prefixLength: Number.parseInt(prefix, 16),
            isDirect: /^0+$/.test(gateway),
            metric: Number.parseInt(metric, 16),
          },
        ];
  });
}

/** Interface and address of every line of /proc/PID/net/if_inet6. */
export function parseAddresses6(text: string): { readonly name: string; readonly address: IpAddress }[] {
  return text.split("\n").flatMap((line) => {
    const [address = "", , , , , name] = line.trim().split(/\s+/);
    return name === undefined || !isHex(address, 32)
      ? []
      : [{ name, address: { bits: 128 as const, value: BigInt(`0x${address}`) } }];
  });
}

/** The established connections of /proc/PID/net/tcp and tcp6, but for those that never leave the host. */
export function parseConnections(...texts: readonly string[]): Connection[] {
  const ends = texts.flatMap(linesOf).flatMap((line) => {
    const [, from = "", to = "", state] = line.trim().split(/\s+/);
    const [local, remote] = [endOf(from), endOf(to)];
    return state !== ESTABLISHED || local === undefined || remote === undefined ? [] : [{ local, remote }];
  });
  const pairs = new Set(ends.map(({ local, remote }) => `${local.key} ${remote.key}`));
  // Both ends of a connection within the host are in the tables.
  return ends
    .filter(({ local, remote }) => !pairs.has(`${remote.key} ${local.key}`) && !isLoopback(local.address))
    .map(({ local, remote }) => ({ local: local.address, remote: remote.address }));
}

/** Reads an address as people write it; `undefined` for anything else, names above all. */
export function parseIp(text: string): IpAddress | undefined {
  const four = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (four !== null) {
    const bytes = four.slice(1).map(Number);
    return bytes.some((byte) => byte > 255)
      ? undefined
      : { bits: 32, value: bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n) };
  }
  const [head = "", tail, ...more] = text.split("::");
  const words = (part: string): string[] => part.split(":").filter((word) => word !== "");
  const [before, after] = [words(head), words(tail ?? "")];
  const missing = 8 - before.length - after.length;
  const isTorn = more.length > 0 || /:::|^:(?!:)|(?<!:):$/.test(text);
  const isWhole = !isTorn && (tail === undefined ? missing === 0 : missing > 0);
  const all = [...before, ...Array.from({ length: Math.max(0, missing) }, () => "0"), ...after];
  return isWhole && all.every((part) => /^[0-9a-f]{1,4}$/i.test(part))
    ? { bits: 128, value: all.reduce((sum, part) => (sum << 16n) + BigInt(`0x${part}`), 0n) }
    : undefined;
}

/** Whether the route takes all that no other route takes. */
export function isDefault({ network, prefixLength }: Route): boolean {
  return prefixLength <= WIDEST[network.bits];
}

/** Whether the address, or a whole network, is only for the link that it is on (169.254/16, fe80::/10). */
export function isLinkLocal({ bits, value }: IpAddress): boolean {
  return bits === 32 ? value >> 16n === LINK_LOCAL_4 : value >> 118n === LINK_LOCAL_6;
}

/** Interfaces by which an address is reached: those of its longest route, of these the cheapest. */
export function interfacesTo(routes: readonly Route[], address: IpAddress): readonly string[] {
  const fitting = routes.filter((route) => contains(route, address));
  const longest = Math.max(...fitting.map(({ prefixLength }) => prefixLength));
  const best = fitting.filter(({ prefixLength }) => prefixLength === longest);
  const cheapest = Math.min(...best.map(({ metric }) => metric));
  return [...new Set(best.filter(({ metric }) => metric === cheapest).map(({ name }) => name))];
}

function contains({ network, prefixLength }: Route, address: IpAddress): boolean {
  const rest = BigInt(network.bits - prefixLength);
  return network.bits === address.bits && network.value >> rest === address.value >> rest;
}

/** An end such as `0101A8C0:0016`, or with 32 digits. The key is the same for one end in either table. */
function endOf(text: string): { readonly address: IpAddress; readonly key: string } | undefined {
  const [digits = "", port = ""] = text.split(":");
  const address = addressIn(digits);
  return address === undefined ? undefined : { address, key: `${address.bits} ${address.value} ${port}` };
}

function addressIn(digits: string): IpAddress | undefined {
  if (isHex(digits, 8)) {
    return { bits: 32, value: word(digits) };
  }
  if (!isHex(digits, 32)) {
    return undefined;
  }
  const words = digits.match(/.{8}/g) ?? [];
  const value = words.reduce((sum, part) => (sum << 32n) + word(part), 0n);
  return value >> 32n === MAPPED ? { bits: 32, value: value & 0xffff_ffffn } : { bits: 128, value };
}

function isLoopback({ bits, value }: IpAddress): boolean {
  return bits === 32 ? value >> 24n === 127n : value === 1n;
}

/** An integer of the machine as the four bytes that it is in a packet. */
function word(digits: string): bigint {
  const bytes = digits.match(/../g) ?? [];
  return BigInt(`0x${(endianness() === "LE" ? bytes.reverse() : bytes).join("")}`);
}

function ones(value: bigint): number {
  return value.toString(2).replaceAll("0", "").length;
}

function isHex(text: string, digits: number): boolean {
  return text.length === digits && /^[0-9a-f]+$/i.test(text);
}

/** Lines after the heading. */
function linesOf(text: string): string[] {
  return text.split("\n").slice(1);
}
