import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  interfacesTo,
  isDefault,
  isLinkLocal,
  parseAddresses6,
  parseConnections,
  parseIp,
  parseRoutes,
  parseRoutes6,
} from "../../../src/host/network-table.js";

/** As Linux 6.18 on x86 wrote them; addresses changed to those for documentation. */
const ROUTE = [
  "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       ",
  "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0                                                                               ",
  "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0                                                                               ",
  "*\t006433C6\t00000000\t0200\t0\t0\t0\t00FFFFFF\t0\t0\t0",
  "",
].join("\n");
const ROUTE_6 = [
  "fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0",
  "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0",
  "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0",
  "00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo",
  "fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001     eth0",
  "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo",
  "",
].join("\n");
const INET_6 = [
  "fd000000000000000000000000000002 04 40 00 82     eth0",
  "00000000000000000000000000000001 01 80 10 80       lo",
  "fe8000000000000000fc00fffe000001 04 40 20 80     eth0",
  "",
].join("\n");
const TCP = [
  "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     ",
  "   0: 0100007F:15B3 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41748 1 00000000f47ef45a 100 0 0 10 0                     ",
  "   1: 0100007F:15B3 0100007F:CDB2 01 00000000:00000000 00:00000000 00000000     0        0 41750 1 000000006bce2de8 20 0 0 10 -1                     ",
  "   2: 0100007F:A880 0100007F:15B4 01 00000000:00000000 00:00000000 00000000     0        0 41752 2 00000000f3a1813a 20 0 0 10 -1                     ",
  "   3: 0100007F:CDB2 0100007F:15B3 01 00000000:00000000 00:00000000 00000000     0        0 41749 2 00000000693fc8ec 20 0 0 10 -1                     ",
  "",
].join("\n");
const TCP_6 = [
  "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
  "   1: 00000000000000000000000001000000:15B4 00000000000000000000000001000000:83DE 01 00000000:00000000 00:00000000 00000000     0        0 41755 1 0000000040f7cc3a 20 0 0 10 -1",
  "   2: 00000000000000000000000001000000:83DE 00000000000000000000000001000000:15B4 01 00000000:00000000 00:00000000 00000000     0        0 41754 2 0000000098fbac31 20 0 0 10 -1",
  "   3: 0000000000000000FFFF00000100007F:15B4 0000000000000000FFFF00000100007F:A880 01 00000000:00000000 00:00000000 00000000     0        0 41753 1 00000000a6e1b7af 20 0 0 10 -1",
  "",
].join("\n");

/** A line of /proc/net/tcp. */
function established(local: string, remote: string): string {
  return `   9: ${local} ${remote} 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 20 4 30 10 -1\n`;
}

describe("routes", () => {
  const routes = [...parseRoutes(ROUTE), ...parseRoutes6(ROUTE_6)];

  it("are those that lead somewhere, in either family", () => {
    expect(routes.map(({ name, prefixLength, isDirect }) => [name, prefixLength, isDirect])).toEqual([
      ["eth0", 0, false],
      ["eth0", 24, true],
      ["eth0", 64, true],
      ["eth0", 64, true],
      ["eth0", 0, false],
      ["eth0", 128, true],
    ]);
  });

  it("are default ones also when a VPN has split them in two", () => {
    expect(routes.filter(isDefault)).toHaveLength(2);
    const halves =
      "Iface\ntun0\t00000000\t0108A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\ntun0\t00000080\t0108A8C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n";
    expect(parseRoutes(halves).map(isDefault)).toEqual([true, true]);
  });

  it("lead to an address by the longest prefix, then by the lowest metric", () => {
    const route = (name: string, network: string, prefixLength: number, metric: number) => ({
      name,
      network: parseIp(network) ?? { bits: 32 as const, value: 0n },
      prefixLength,
      isDirect: true,
      metric,
    });
    const table = [
      route("wide", "0.0.0.0", 0, 0),
      route("wifi", "192.0.2.0", 24, 600),
      route("eth", "192.0.2.0", 24, 100),
      route("six", "2001:db8::", 32, 0),
    ];
    const to = (address: string) => interfacesTo(table, parseIp(address) ?? { bits: 32, value: 0n });
    expect([to("192.0.2.7"), to("198.51.100.1"), to("2001:db8::5"), to("2001:db9::5")]).toEqual([
      ["eth"],
      ["wide"],
      ["six"],
      [],
    ]);
  });
});

describe("addresses", () => {
  it("of the link only are told apart", () => {
    expect(parseAddresses6(INET_6).map(({ name, address }) => [name, isLinkLocal(address)])).toEqual([
      ["eth0", false],
      ["lo", false],
      ["eth0", true],
    ]);
    const [local] = parseRoutes("Iface\neth0\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n");
    expect(local && isLinkLocal(local.network)).toBe(true);
  });

  it("are read as people write them, and nothing else is", () => {
    expect(parseIp("192.0.2.7")).toEqual({ bits: 32, value: 0xc0000207n });
    expect(parseIp("2001:db8::7")).toEqual({ bits: 128, value: 0x20010db8_00000000_00000000_00000007n });
    expect(parseIp("::")).toEqual({ bits: 128, value: 0n });
    for (const text of [
      "filer",
      "",
      "1.2.3",
      "1.2.3.256",
      "1:2:3",
      "1::2::3",
      "1:::2",
      ":1:2:3:4:5:6:7:8",
      "1:2:3:4:5:6:7:",
      "1:2:3:4:5:6:7:8:9",
      "fe80::1%eth0",
    ]) {
      expect(parseIp(text)).toBeUndefined();
    }
  });

  it("of any eight words come back whole", () => {
    const words = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(words, (parts) => {
        const value = parts.reduce((sum, part) => (sum << 16n) + BigInt(part), 0n);
        expect(parseIp(parts.map((part) => part.toString(16)).join(":"))).toEqual({ bits: 128, value });
      }),
    );
  });
});

describe("connections", () => {
  it("within the host do not count, also between the two families", () => {
    expect(parseConnections(TCP, TCP_6)).toEqual([]);
  });

  it("between two addresses of the host do not count either", () => {
    const both =
      established("070200C0:0016", "080200C0:9C40") + established("080200C0:9C40", "070200C0:0016");
    expect(parseConnections(`heading\n${both}`)).toEqual([]);
  });

  it("are those that leave it, a mapped one as what it is", () => {
    const tcp = `heading\n${established("070200C0:0016", "096433C6:9C40")}`;
    const tcp6 = `heading\n${established("0000000000000000FFFF0000070200C0:0016", "0000000000000000FFFF00000A6433C6:9C40")}`;
    expect(parseConnections(tcp, tcp6)).toEqual([
      { local: parseIp("192.0.2.7"), remote: parseIp("198.51.100.9") },
      { local: parseIp("192.0.2.7"), remote: parseIp("198.51.100.10") },
    ]);
  });
});
