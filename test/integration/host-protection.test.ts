/** What the host stands on, gathered from made-up /proc and /sys trees. */
import { describe, expect, it, onTestFinished } from "vitest";
import { readProtections } from "../../src/host/protection-facts.js";
import { scanOnce } from "../../src/host/scan.js";
import { aFolder, aSysfs, type Sysfs } from "../support/sysfs.js";

const NVME = "0000:01:00.0";
const NIC = "0000:02:00.0";
const OTHER_NIC = "0000:03:00.0";
const GPU = "0000:04:00.0";
const OTHER_NVME = "0000:05:00.0";
const SHARE = "0000:06:00.0";

const routes = (name: string): string =>
  `Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n${name}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n${name}\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n`;
const pci = (address: string): string => `sys/devices/pci${address.slice(0, -5)}/${address}`;

/** Two disks, two network cards, a GPU and a device with a file share; the host stands on none of them. */
function host(): Sysfs {
  return aSysfs(aFolder(onTestFinished))
    .device({ address: NVME, class: "010802" })
    .device({ address: NIC, class: "020000" })
    .device({ address: OTHER_NIC, class: "020000" })
    .device({ address: GPU, class: "030000", attributes: { boot_vga: "1" } })
    .device({ address: OTHER_NVME, class: "010802" })
    .device({ address: SHARE, class: "000200", vendor: "1af4" })
    .file("proc/1/mountinfo", "22 27 0:21 / /proc rw - proc proc rw\n")
    .file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n")
    .file("proc/1/net/route", "Iface\tDestination\n")
    .file("sys/class/tty/console/active", "ttyS0\n");
}

function disk(sysfs: Sysfs, number: string, name: string, folder: string): Sysfs {
  return sysfs
    .file(`${folder}/${name}/dev`, number)
    .link(`sys/dev/block/${number}`, `${folder}/${name}`)
    .link(`sys/class/block/${name}`, `${folder}/${name}`);
}

function mount(sysfs: Sysfs, ...lines: readonly string[]): Sysfs {
  return sysfs.file("proc/1/mountinfo", lines.map((line) => `${line}\n`).join(""));
}

function network(sysfs: Sysfs, name: string, address: string | null): Sysfs {
  const folder = address === null ? `sys/devices/virtual/net/${name}` : `${pci(address)}/net/${name}`;
  return sysfs.file(`${folder}/ifindex`, "2").link(`sys/class/net/${name}`, folder);
}

async function protectedBy(sysfs: Sysfs): Promise<Readonly<Record<string, string>>> {
  const protections = readProtections(sysfs.root, await scanOnce(sysfs.root));
  return Object.fromEntries([...protections].map(([address, { because }]) => [address, because]));
}

describe("protected devices", () => {
  it("are none on a host that stands on nothing", async () => {
    expect(await protectedBy(host())).toEqual({});
  });

  it("carry a mounted partition", async () => {
    const tree = disk(host(), "259:0", "nvme0n1", `${pci(NVME)}/nvme/nvme0`);
    disk(tree, "259:1", "nvme0n1p1", `${pci(NVME)}/nvme/nvme0/nvme0n1`).file(
      `${pci(NVME)}/nvme/nvme0/nvme0n1/nvme0n1p1/partition`,
      "1",
    );
    mount(tree, "27 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw");
    expect(await protectedBy(tree)).toEqual({ [NVME]: "it carries what is mounted at /" });
  });

  it("carry a member of what is stacked: device-mapper on md on two disks", async () => {
    const tree = disk(host(), "259:0", "nvme0n1", `${pci(NVME)}/nvme/nvme0`);
    disk(tree, "259:2", "nvme1n1", `${pci(OTHER_NVME)}/nvme/nvme1`);
    disk(tree, "9:0", "md0", "sys/devices/virtual/block")
      .link("sys/devices/virtual/block/md0/slaves/nvme0n1", `${pci(NVME)}/nvme/nvme0/nvme0n1`)
      .link("sys/devices/virtual/block/md0/slaves/nvme1n1", `${pci(OTHER_NVME)}/nvme/nvme1/nvme1n1`);
    disk(tree, "253:0", "dm-0", "sys/devices/virtual/block").link(
      "sys/devices/virtual/block/dm-0/slaves/md0",
      "sys/devices/virtual/block/md0",
    );
    mount(tree, "27 1 253:0 / /srv\\040data rw - xfs /dev/mapper/srv rw");
    expect(await protectedBy(tree)).toEqual({
      [NVME]: "it carries what is mounted at /srv data",
      [OTHER_NVME]: "it carries what is mounted at /srv data",
    });
  });

  it("carry an NVMe multipath disk, which hangs below a virtual subsystem", async () => {
    const subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
    const tree = disk(host(), "259:0", "nvme0n1", subsystem)
      .file(`${pci(NVME)}/nvme/nvme0/state`, "live")
      .link(`${subsystem}/nvme0`, `${pci(NVME)}/nvme/nvme0`);
    mount(tree, "27 1 259:0 / / rw - ext4 /dev/nvme0n1 rw");
    expect(Object.keys(await protectedBy(tree))).toEqual([NVME]);
  });

  it("carry every member of a mounted btrfs, which has no device number of its own", async () => {
    const tree = disk(host(), "259:0", "nvme0n1", `${pci(NVME)}/nvme/nvme0`).file("dev/nvme0n1", "");
    disk(tree, "259:2", "nvme1n1", `${pci(OTHER_NVME)}/nvme/nvme1`)
      .link("sys/fs/btrfs/8b2c/devices/nvme0n1", `${pci(NVME)}/nvme/nvme0/nvme0n1`)
      .link("sys/fs/btrfs/8b2c/devices/nvme1n1", `${pci(OTHER_NVME)}/nvme/nvme1/nvme1n1`);
    mount(tree, "27 1 0:31 /root / rw - btrfs /dev/nvme0n1 rw");
    expect(Object.keys(await protectedBy(tree))).toEqual([NVME, OTHER_NVME]);
  });

  it("carry swap, found through the name of a mapping", async () => {
    const tree = disk(host(), "259:0", "nvme0n1", `${pci(NVME)}/nvme/nvme0`);
    disk(tree, "253:1", "dm-1", "sys/devices/virtual/block")
      .link("sys/devices/virtual/block/dm-1/slaves/nvme0n1", `${pci(NVME)}/nvme/nvme0/nvme0n1`)
      .file("dev/dm-1", "")
      .link("dev/mapper/swap", "dev/dm-1")
      .file("proc/swaps", "Filename\tType\n/dev/mapper/swap                        partition\t1\t0\t-2\n");
    expect(await protectedBy(tree)).toEqual({ [NVME]: "it carries what is swap" });
  });

  it("carry the default route, also below a VLAN on a bridge", async () => {
    const tree = network(network(network(host(), "eth0", NIC), "br0", null), "br0.7", null)
      .file("proc/1/net/route", routes("br0.7"))
      .link("sys/devices/virtual/net/br0.7/lower_br0", "sys/devices/virtual/net/br0")
      .link("sys/devices/virtual/net/br0/lower_eth0", `${pci(NIC)}/net/eth0`);
    network(tree, "eth1", OTHER_NIC);
    expect(await protectedBy(tree)).toEqual({ [NIC]: "the default route goes through br0.7" });
  });

  it("carry the default route of IPv6; the kernel's unreachable ones on lo do not count", async () => {
    const zero = "0".repeat(32);
    const route = (name: string): string =>
      `${zero} 00 ${zero} 00 ${zero} 00000400 00000001 00000000 00000003     ${name}\n`;
    const tree = network(host(), "eth1", OTHER_NIC).file(
      "proc/1/net/ipv6_route",
      route("eth1") + route("lo"),
    );
    expect(Object.keys(await protectedBy(tree))).toEqual([OTHER_NIC]);
  });

  it("carry a file share, even one that PID 1 does not see mounted", async () => {
    const tree = host()
      .file(`${pci(SHARE)}/virtio5/mount_tag`, "root\0")
      .link("sys/bus/virtio/drivers/9pnet_virtio/virtio5", `${pci(SHARE)}/virtio5`);
    expect(await protectedBy(tree)).toEqual({ [SHARE]: "it carries a file share (9pnet_virtio)" });
  });

  it("show the active console", async () => {
    const tree = host().file("sys/class/tty/console/active", "tty0 ttyS0\n");
    expect(await protectedBy(tree)).toEqual({ [GPU]: "it shows the active console" });
  });

  it("are all that could matter when PID 1's facts cannot be read", async () => {
    const tree = host()
      .remove("proc/1/mountinfo")
      .remove("proc/1/net/route")
      .remove("sys/class/tty/console/active");
    expect(Object.keys(await protectedBy(tree))).toEqual([NVME, NIC, OTHER_NIC, GPU, OTHER_NVME, SHARE]);
  });

  it("are all disks when what is mounted cannot be traced", async () => {
    const lost = mount(host(), "27 1 259:9 / / rw - ext4 /dev/nvme9n1 rw");
    expect(Object.keys(await protectedBy(lost))).toEqual([NVME, OTHER_NVME, SHARE]);
    const pool = mount(host(), "27 1 0:40 / /tank rw - zfs tank rw");
    expect(Object.keys(await protectedBy(pool))).toEqual([NVME, OTHER_NVME, SHARE]);
  });

  it("are all network cards when a mount comes over the network or the route leads nowhere", async () => {
    const nfs = mount(host(), "27 1 0:40 / /home rw - nfs4 10.0.0.1:/home rw");
    expect(Object.keys(await protectedBy(nfs))).toEqual([NIC, OTHER_NIC, SHARE]);
    const tunnel = network(host(), "tun0", null).file("proc/1/net/route", routes("tun0"));
    expect(Object.keys(await protectedBy(tunnel))).toEqual([NIC, OTHER_NIC, SHARE]);
  });

  it("are not widened by what a user mounts through FUSE under a device's name", async () => {
    const tree = mount(host(), "90 27 0:50 / /run/user/1000/doc rw - fuse.portal /dev/fuse rw");
    expect(await protectedBy(tree)).toEqual({});
  });
});
