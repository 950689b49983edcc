/** What the host's network stands on, gathered from made-up /proc and /sys trees in the kernel's own formats. */
import { describe, expect, it } from "vitest";
import {
  ANY_NIC,
  aProtectedHost,
  defaultRoute,
  NIC,
  network,
  OTHER_NIC,
  type ProtectedHost,
  SHARE,
} from "../support/protected-host.js";

const ZERO = "0".repeat(32);

/** Two interfaces that are down. */
function host(): ProtectedHost {
  return aProtectedHost().interface("eth0", NIC).interface("eth1", OTHER_NIC);
}

/** A line of /proc/1/net/tcp: established. */
function established(local: string, remote: string): string {
  return `   1: ${local} ${remote} 01 00000000:00000000 02:000A7214 00000000     0        0 18342 4 0000000000000000 20 4 31 10 -1`;
}

describe("a network device", () => {
  it("is free while the host does nothing with it", async () => {
    expect(await host().reasons()).toEqual({});
  });

  it("is protected by the default route, through bond, bridge and VLAN, with each member", async () => {
    const tree = host()
      .interface("bond0", null, "eth0", "eth1")
      .interface("br0", null, "bond0")
      .interface("br0.7", null, "br0")
      .routes(defaultRoute("br0.7"));
    expect(await tree.reasons()).toEqual({
      [NIC]: "it carries the default route through br0.7 on br0 on bond0 on eth0",
      [OTHER_NIC]: "it carries the default route through br0.7 on br0 on bond0 on eth1",
    });
  });

  it("is protected by the default route of IPv6; the kernel's unreachable ones on lo do not count", async () => {
    const tree = host().file(
      "proc/1/net/ipv6_route",
      [
        `${ZERO} 00 ${ZERO} 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth1`,
        `${ZERO} 00 ${ZERO} 00 ${ZERO} ffffffff 00000001 00000000 00200200       lo`,
        "",
      ].join("\n"),
    );
    expect(await tree.reasons()).toEqual({ [OTHER_NIC]: "it carries the default route through eth1" });
  });

  it("is protected through the virtio device of a nested host", async () => {
    const tree = aProtectedHost()
      .file(`sys/devices/pci0000:06/${SHARE}/virtio2/net/eth0/flags`, "0x1003\n")
      .link("sys/class/net/eth0", `sys/devices/pci0000:06/${SHARE}/virtio2/net/eth0`)
      .routes(defaultRoute("eth0"));
    expect(await tree.reasons()).toEqual({ [SHARE]: "it carries the default route through eth0" });
  });

  it("is only in use while it is merely up, or has an address", async () => {
    const tree = host()
      .setUp("eth0")
      .routes(network("eth0"))
      .file("proc/1/net/if_inet6", "20010db8000000000000000000000007 03 40 00 80     eth1\n");
    expect(Object.fromEntries(await tree.protections())).toEqual({
      [NIC]: { because: "it carries an address of the host through eth0", level: "soft", isLiftable: true },
      [OTHER_NIC]: {
        because: "it carries an address of the host through eth1",
        level: "soft",
        isLiftable: true,
      },
    });
    const up = host().setUp("eth0");
    expect(Object.fromEntries(await up.protections())).toEqual({
      [NIC]: {
        because: "it carries a network link that is up through eth0",
        level: "soft",
        isLiftable: true,
      },
    });
  });

  it("is not even in use by a link-local address", async () => {
    const tree = host()
      .routes("eth0\t0000FEA9\t00000000\t0001\t0\t0\t1000\t0000FFFF\t0\t0\t0")
      .file("proc/1/net/if_inet6", "fe8000000000000000fc00fffe000001 02 40 20 80     eth1\n");
    expect(await tree.reasons()).toEqual({});
  });

  it("is protected, and not only in use, as a member of a bridge with an address", async () => {
    const tree = host().setUp("eth0").interface("br0", null, "eth0").routes(network("br0"));
    expect(Object.fromEntries(await tree.protections())).toEqual({
      [NIC]: {
        because: "it carries an address of the host through br0 on eth0",
        level: "hard",
        isLiftable: true,
      },
    });
    const without = host().setUp("eth0").interface("br0", null, "eth0").setUp("br0");
    expect([...(await without.protections()).values()].map(({ level }) => level)).toEqual(["soft"]);
  });

  it("is protected by an established connection, on its own side or on the way to the other", async () => {
    const ssh = host()
      .routes(defaultRoute("eth0"), "eth1\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0")
      .connections("tcp", established("056433C6:0016", "096433C6:C350"));
    expect((await ssh.reasons())[OTHER_NIC]).toBe(
      "it carries an established connection of the host through eth1",
    );
    const six = host()
      .file("proc/1/net/if_inet6", "20010db8000000000000000000000007 03 40 00 80     eth1\n")
      .connections(
        "tcp6",
        established("B80D0120000000000000000007000000:0016", "B80D0120000000010000000009000000:C350"),
      );
    expect([...(await six.protections())].map(([address, { level }]) => [address, level])).toEqual([
      [OTHER_NIC, "hard"],
    ]);
  });

  it("is not protected by a connection that only listens, or stays within the host", async () => {
    const tree = host()
      .file("proc/1/net/if_inet6", "20010db8000000000000000000000007 03 40 00 80     eth1\n")
      .connections(
        "tcp",
        "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 562 1 00000000073f6ced 100 0 0 10 0",
        established("0100007F:0016", "0100007F:C350"),
        established("0100007F:C350", "0100007F:0016"),
      );
    expect([...(await tree.protections()).values()].map(({ level }) => level)).toEqual(["soft"]);
  });

  it("is protected when its driver shows no interface, which is then in another network namespace", async () => {
    const tree = aProtectedHost().driver("e1000e").driver("vfio-pci").interface("eth1", OTHER_NIC);
    tree.bind(NIC, "e1000e").bind(OTHER_NIC, "e1000e");
    expect(await tree.reasons()).toEqual({
      [NIC]: "its driver shows no interface here, so another network namespace has it",
    });
    expect(await tree.bind(NIC, "vfio-pci").reasons()).toEqual({});
  });

  it("is any that there is when the default route leads nowhere, but not when a container's bridge does", async () => {
    const tunnel = host().interface("wg0", null).routes(defaultRoute("wg0"));
    expect(await tunnel.protectedOnes()).toEqual(ANY_NIC);
    const bridge = host().interface("docker0", null).setUp("docker0").routes(network("docker0"));
    expect(await bridge.reasons()).toEqual({});
  });

  it("is any that there is when PID 1's routes cannot be read, or it has an interface that we do not see", async () => {
    expect(await host().remove("proc/1/net/route").protectedOnes()).toEqual(ANY_NIC);
    const heading = "Inter-|   Receive\n face |bytes    packets\n";
    const seen = host().file("proc/1/net/dev", `${heading}    lo: 0 0\n  eth0: 0 0\n`);
    expect(await seen.reasons()).toEqual({});
    const unseen = host().file("proc/1/net/dev", `${heading}    lo: 0 0\n enp9s0: 0 0\n`);
    expect(await unseen.protectedOnes()).toEqual(ANY_NIC);
  });

  it("is not confused by the files that stand among the interfaces", async () => {
    expect(await host().file("sys/class/net/bonding_masters", "bond0\n").reasons()).toEqual({});
  });
});
