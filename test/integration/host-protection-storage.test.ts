/** What the host's storage stands on, gathered from made-up /proc and /sys trees in the kernel's own formats. */
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { NO_FACTS, protect } from "../../src/core/protection.js";
import { parseProtectionFacts } from "../../src/core/protection-recording.js";
import { gatherProtectionFacts } from "../../src/host/protection-facts.js";
import { scanOnce } from "../../src/host/scan.js";
import {
  ANY_DISK,
  ANY_NIC,
  aProtectedHost,
  NIC,
  NVME,
  network,
  OTHER_NVME,
  type ProtectedHost,
  pci,
  SHARE,
  USB,
} from "../support/protected-host.js";

const first = `${pci(NVME)}/nvme/nvme0/nvme0n1`;
const second = `${pci(OTHER_NVME)}/nvme/nvme1/nvme1n1`;

/** The shared folder of an outer machine. */
function withShare(host: ProtectedHost, tag: string): ProtectedHost {
  return host
    .file(`${pci(SHARE)}/virtio5/mount_tag`, `${tag}\0`)
    .link("sys/bus/virtio/drivers/9pnet_virtio/virtio5", `${pci(SHARE)}/virtio5`);
}

describe("storage below what is mounted", () => {
  it("is none on a host that stands on nothing", async () => {
    expect(await aProtectedHost().nvmes().reasons()).toEqual({});
  });

  it("is the disk of a partition; only the root file system can never be lifted", async () => {
    const host = aProtectedHost().nvmes();
    host.mounts(
      "27 1 259:1 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p1 rw",
      "28 27 259:3 / /srv\\040data rw - xfs /dev/nvme1n1 rw",
    );
    expect(Object.fromEntries(await host.protections())).toEqual({
      [NVME]: { because: "it carries / through nvme0n1p1", level: "hard", isLiftable: false },
      [OTHER_NVME]: { because: "it carries /srv data through nvme1n1", level: "hard", isLiftable: true },
    });
  });

  it("is every disk of LVM on md on NVMe", async () => {
    const host = aProtectedHost()
      .nvmes()
      .stack("9:0", "md0", { nvme0n1p1: `${first}/nvme0n1p1`, nvme1n1: second })
      .stack("253:0", "dm-0", { md0: "sys/devices/virtual/block/md0" }, "vg0-root")
      .mounts("27 1 253:0 / / rw - xfs /dev/mapper/vg0-root rw");
    expect(await host.reasons()).toEqual({
      [NVME]: "it carries / through vg0-root on md0 on nvme0n1p1",
      [OTHER_NVME]: "it carries / through vg0-root on md0 on nvme1n1",
    });
  });

  it("is the disk of an md array that is made of whole disks, also below a partition of the array", async () => {
    const host = aProtectedHost()
      .nvmes()
      .stack("9:0", "md0", { nvme1n1: second })
      .disk("259:9", "md0p1", "sys/devices/virtual/block/md0")
      .file("sys/devices/virtual/block/md0/md0p1/partition", "1")
      .mounts("27 1 259:9 / /srv rw - ext4 /dev/md0p1 rw");
    expect(await host.reasons()).toEqual({
      [OTHER_NVME]: "it carries /srv through md0p1 on md0 on nvme1n1",
    });
  });

  it("is an NVMe multipath disk, which hangs below a virtual subsystem", async () => {
    const subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
    const host = aProtectedHost()
      .disk("259:0", "nvme0n1", subsystem)
      .file(`${pci(NVME)}/nvme/nvme0/state`, "live")
      .link(`${subsystem}/nvme0`, `${pci(NVME)}/nvme/nvme0`)
      .mounts("27 1 259:0 / / rw - ext4 /dev/nvme0n1 rw");
    expect(await host.reasons()).toEqual({ [NVME]: "it carries / through nvme0n1 on nvme0" });
  });

  it("is every member of a btrfs, which has no device number of its own", async () => {
    const host = aProtectedHost()
      .nvmes()
      .file("sys/fs/btrfs/features/raid1c34", "0")
      .link("sys/fs/btrfs/8b2c/devices/nvme0n1p2", `${first}/nvme0n1p2`)
      .link("sys/fs/btrfs/8b2c/devices/nvme1n1", second)
      .mounts("27 1 0:31 /root / rw - btrfs /dev/nvme0n1p2 rw,subvol=/root");
    expect(Object.fromEntries(await host.protections())).toEqual({
      [NVME]: { because: "it carries / through btrfs on nvme0n1p2", level: "hard", isLiftable: false },
      [OTHER_NVME]: { because: "it carries / through btrfs on nvme1n1", level: "hard", isLiftable: false },
    });
  });

  it("is a file system that only another mount namespace has mounted", async () => {
    const host = aProtectedHost().nvmes().file("sys/fs/ext4/nvme1n1/errors_count", "0");
    host.file("sys/fs/ext4/features/lazy_itable_init", "supported");
    expect(await host.reasons()).toEqual({ [OTHER_NVME]: "it carries a mounted ext4 through nvme1n1" });
  });

  it("is what a file behind a loop device lies on", async () => {
    const host = aProtectedHost()
      .nvmes()
      .disk("7:0", "loop0", "sys/devices/virtual/block")
      .file("sys/devices/virtual/block/loop0/loop/backing_file", "/srv/image\n")
      .mounts("27 1 7:0 / / ro - squashfs /dev/loop0 ro", "28 27 259:3 / /srv rw - ext4 /dev/nvme1n1 rw");
    expect(await host.reasons()).toEqual({ [OTHER_NVME]: "it carries / through loop0 on nvme1n1" });
  });

  it("is what the layers of an overlay lie on", async () => {
    const host = aProtectedHost().nvmes();
    host.mounts(
      "27 1 0:25 / / rw - overlay overlay rw,lowerdir=/media/ro:/media/a\\134:b,upperdir=/media/rw/up,workdir=/media/rw/work",
      "28 27 259:3 / /media/ro ro - squashfs /dev/nvme1n1 ro",
      "29 27 259:1 / /media/a:b ro - ext4 /dev/nvme0n1p1 ro",
      "30 27 0:26 / /media/rw rw - tmpfs tmpfs rw",
    );
    const found = await host.protections();
    expect([...found].map(([address, { isLiftable }]) => [address, isLiftable])).toEqual([
      [NVME, false],
      [OTHER_NVME, false],
    ]);
  });

  it("is the share of an outer machine below an overlay whose layers a chrooted PID 1 cannot see", async () => {
    const root = "27 1 0:25 / / rw - overlay overlay rw,lowerdir=/ro,upperdir=/rw/up,workdir=/rw/work";
    const host = withShare(aProtectedHost().nvmes().mounts(root), "root");
    expect(Object.fromEntries(await host.protections())).toEqual({
      [SHARE]: {
        because: "it carries / through overlay on 9pnet_virtio virtio5",
        level: "hard",
        isLiftable: false,
      },
    });
    // A folder of the share that is mounted elsewhere says nothing about where the layers lie.
    host.mounts(root, "28 27 0:21 /lib /lib ro - 9p root ro,trans=virtio");
    expect((await host.protections()).get(SHARE)).toMatchObject({ isLiftable: false });
    expect(await host.protectedOnes()).toEqual([SHARE]);
    host.mounts(root, "28 27 0:21 / /mnt ro - 9p root ro,trans=virtio");
    expect(await host.protectedOnes()).toContain(NVME);
    // With nothing out of sight that it could lie on, it may lie on anything.
    expect(await aProtectedHost().mounts(root).protectedOnes()).toEqual(
      [...new Set([...ANY_DISK, ...ANY_NIC])].sort(),
    );
  });

  it("is the device of a 9p or virtiofs mount, by its tag, and of a share that nobody has mounted", async () => {
    const shared = withShare(aProtectedHost(), "store");
    expect(await shared.reasons()).toEqual({
      [SHARE]: "it carries a file share through 9pnet_virtio virtio5",
    });
    shared.mounts("27 1 0:25 / / rw - 9p store rw,trans=virtio,version=9p2000.L");
    expect(await shared.reasons()).toEqual({ [SHARE]: "it carries / through 9pnet_virtio virtio5" });
    const virtiofs = aProtectedHost()
      .link("sys/bus/virtio/drivers/virtiofs/virtio2", `${pci(SHARE)}/virtio2`)
      .mounts("27 1 0:25 / /home rw - virtiofs home rw");
    expect(await virtiofs.reasons()).toEqual({ [SHARE]: "it carries /home through virtiofs virtio2" });
  });

  it("is a virtio disk of a nested host", async () => {
    const host = aProtectedHost().disk("254:0", "vda", `${pci(SHARE)}/virtio1/block`);
    host.mounts("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard,resv_strict");
    expect(await host.reasons()).toEqual({ [SHARE]: "it carries / through vda" });
  });

  it("is the volume management device above a disk in a domain of its own", async () => {
    const host = aProtectedHost().disk(
      "259:0",
      "nvme0n1",
      `${pci(NVME)}/pci10000:e0/10000:e0:06.0/10000:e1:00.0/nvme/nvme0`,
    );
    host.mounts("27 1 259:0 / / rw - ext4 /dev/nvme0n1 rw");
    expect(await host.reasons()).toEqual({ [NVME]: "it carries / through nvme0n1" });
  });

  it("is the USB controller of a stick", async () => {
    const host = aProtectedHost().disk(
      "8:0",
      "sda",
      `${pci(USB)}/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block`,
    );
    host.mounts("27 1 8:0 / /media/stick rw - vfat /dev/sda rw");
    expect(await host.reasons()).toEqual({ [USB]: "it carries /media/stick through sda" });
  });

  it("is not widened by file systems of memory, or by what a user mounts through FUSE under a device's name", async () => {
    const host = aProtectedHost().mounts(
      "21 1 0:20 / / rw - tmpfs tmpfs rw",
      "90 27 0:50 / /run/user/1000/doc rw - fuse.portal /dev/fuse rw",
      "91 27 0:51 / /sys/firmware/efi/efivars rw - efivarfs efivarfs rw",
    );
    expect(await host.reasons()).toEqual({});
  });
});

describe("storage that comes over the network", () => {
  it("is the interface on the way to an NFS server, for good where it is the root", async () => {
    const host = aProtectedHost()
      .interface("eth0", NIC)
      .routes(network("eth0"))
      .mounts("27 1 0:40 / / rw - nfs4 192.0.2.9:/root rw,vers=4.2,clientaddr=192.0.2.7,addr=192.0.2.9");
    expect(Object.fromEntries(await host.protections())).toEqual({
      [NIC]: { because: "it carries / through nfs4 on eth0", level: "hard", isLiftable: false },
    });
  });

  it("is every network device where the server's path cannot be told", async () => {
    const host = aProtectedHost().mounts("27 1 0:40 / /home rw - nfs4 filer:/home rw");
    expect(await host.protectedOnes()).toEqual(ANY_NIC);
  });

  it("is the interface on the way to an iSCSI target", async () => {
    const session = "sys/devices/platform/host2/session1";
    const host = aProtectedHost()
      .interface("eth0", NIC)
      .routes(network("eth0"))
      .disk("8:16", "sdb", `${session}/target2:0:0/2:0:0:1/block`)
      .file(`${session}/connection1:0/iscsi_connection/connection1:0/persistent_address`, "192.0.2.30\n")
      .mounts("27 1 8:16 / /srv rw - ext4 /dev/sdb rw");
    expect(await host.reasons()).toEqual({ [NIC]: "it carries /srv through sdb on eth0" });
  });

  it("is the Fibre Channel adapter of a disk", async () => {
    const host = aProtectedHost().disk(
      "8:32",
      "sdc",
      `${pci(OTHER_NVME)}/host3/rport-3:0-0/target3:0:0/3:0:0:0/block`,
    );
    host.mounts("27 1 8:32 / / rw - ext4 /dev/sdc rw");
    expect(await host.reasons()).toEqual({ [OTHER_NVME]: "it carries / through sdc" });
  });
});

describe("storage that is in use without a mount", () => {
  it("is swap, on a partition and through the name of a mapping", async () => {
    const host = aProtectedHost()
      .nvmes()
      .stack("253:1", "dm-1", { nvme1n1: second }, "swap")
      .file(
        "proc/swaps",
        [
          "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority",
          "/dev/nvme0n1p2                          partition\t8388604\t\t0\t\t-2",
          "/dev/dm-1                               partition\t8388604\t\t0\t\t-3",
          "/srv/swapfile                           file\t\t1048572\t\t0\t\t-4",
          "",
        ].join("\n"),
      );
    expect(await host.reasons()).toEqual({
      [NVME]: "it carries swap through nvme0n1p2",
      [OTHER_NVME]: "it carries swap through swap on nvme1n1",
    });
  });

  it("is a member of an array that nobody has mounted", async () => {
    const host = aProtectedHost().nvmes().stack("9:0", "md0", { nvme1n1: second });
    expect(await host.reasons()).toEqual({
      [OTHER_NVME]: "it carries a stacked device through md0 on nvme1n1",
    });
  });

  it("is every member of a bcache set, the cache too", async () => {
    const host = aProtectedHost()
      .nvmes()
      .file(`${first}/bcache/label`, "")
      .file(`${second}/bcache/label`, "")
      .link("sys/fs/bcache/3a1e/bdev0", `${first}/bcache`)
      .link("sys/fs/bcache/3a1e/cache0", `${second}/bcache`);
    expect(await host.reasons()).toEqual({
      [NVME]: "it carries a part of a bcache set through nvme0n1",
      [OTHER_NVME]: "it carries a part of a bcache set through nvme1n1",
    });
  });

  it("is every disk that ZFS has recorded of a pool, and any disk if it has recorded nothing", async () => {
    const mount = "27 1 0:40 / /tank rw - zfs tank/data rw";
    const recorded = aProtectedHost()
      .nvmes()
      .mounts(mount)
      .file("etc/zfs/zpool.cache", "\x01\x01\0\0\0\0\x04tank\0\0\0\x04path\0\0\0\x09/dev/nvme1n1\0\0\0\0");
    expect(await recorded.reasons()).toEqual({
      [OTHER_NVME]: "it carries /tank through the ZFS pool tank on nvme1n1",
    });
    recorded.file("proc/spl/kstat/zfs/arcstats", "").file("proc/spl/kstat/zfs/other/state", "ONLINE");
    expect(await recorded.protectedOnes()).toEqual(ANY_DISK);
    expect(await aProtectedHost().mounts(mount).protectedOnes()).toEqual(ANY_DISK);
  });

  it("is a raw disk that another process has open, but not one that udev looks into", async () => {
    const host = aProtectedHost()
      .nvmes()
      .file("proc/812/comm", "qemu-system-x86\n")
      .file("proc/301/comm", "(udev-worker)\n")
      .rawLink("proc/812/fd/0", "/dev/null")
      .rawLink("proc/812/fd/14", "/dev/nvme1n1")
      .rawLink("proc/301/fd/7", "/dev/nvme0n1");
    expect(await host.reasons()).toEqual({
      [OTHER_NVME]: "it carries what qemu-system-x86 (812) has open through nvme1n1",
    });
  });

  it("is what lies below the agent's own folders, for good", async () => {
    const host = aProtectedHost().nvmes();
    host.mounts(
      "27 1 0:20 / / rw - tmpfs tmpfs rw",
      "28 27 259:1 / /var rw - ext4 /dev/nvme0n1p1 rw",
      "29 28 259:3 / /var/lib/pciplug rw - ext4 /dev/nvme1n1 rw",
      "30 28 0:41 / /var/lib/pciplug-other rw - tmpfs tmpfs rw",
    );
    const found = await host.protections({ folders: ["/var/lib/pciplug/state"] });
    expect([...found].map(([address, { because, isLiftable }]) => [address, because, isLiftable])).toEqual([
      [NVME, "it carries /var through nvme0n1p1", true],
      [OTHER_NVME, "it carries the agent's own /var/lib/pciplug/state through nvme1n1", false],
    ]);
  });
});

describe("what was found", () => {
  it("is plain JSON, from which a recording gives the same verdict", async () => {
    const host = aProtectedHost()
      .nvmes()
      .stack("253:0", "dm-0", { nvme1n1: second }, "vg0-root")
      .mounts("27 1 253:0 / / rw - xfs /dev/mapper/vg0-root rw", "28 27 0:40 / /odd rw - oddfs odd rw");
    const gathered = await gatherProtectionFacts(host.root);
    const recorded = parseProtectionFacts(JSON.parse(JSON.stringify(gathered)));
    expect(recorded).toEqual(gathered);
    expect(protect(await scanOnce(host.root), recorded ?? NO_FACTS)).toEqual(await host.protections());
  });
});

describe("storage of which too little can be told", () => {
  it("is every device that could carry it, for good, when PID 1's mounts cannot be read", async () => {
    const found = await aProtectedHost().remove("proc/1/mountinfo").protections();
    expect([...found].map(([address, { isLiftable }]) => [address, isLiftable])).toEqual(
      ANY_DISK.map((address) => [address, false]),
    );
  });

  it("is every disk when a mounted one is not shown", async () => {
    const lost = aProtectedHost().mounts("27 1 259:9 / /srv rw - ext4 /dev/nvme9n1 rw");
    expect((await lost.reasons())[NVME]).toBe(
      "the host has /srv through nvme9n1, which leads to no device we know",
    );
    expect(await lost.protectedOnes()).toEqual(ANY_DISK);
  });

  it("is every disk and network device when a mount is of a kind that nobody knows", async () => {
    const odd = aProtectedHost().mounts("27 1 0:40 / /odd rw - oddfs odd rw");
    expect(await odd.protectedOnes()).toEqual([...new Set([...ANY_DISK, ...ANY_NIC])].sort());
  });

  it("is every disk when the open files of a process cannot be listed", async () => {
    const host = aProtectedHost().file("proc/900/comm", "secret\n");
    symlinkSync("fd", join(host.dir, "proc/900/fd"));
    expect((await host.reasons())[NVME]).toBe(
      "the open files of one process cannot be read, so any disk may be in use",
    );
  });
});
