/**
 * The init script of the L1 machine: this machine's own root file system, shared read-only by 9p, under an overlay in
 * memory (facts.md 11). Node, QEMU, udevadm and the project itself are simply there, at the paths they have outside.
 */

/** Modules that must be there before the shared root is. */
export const l1BootModules = ["virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay"];

/** Modules loaded before any story: a story without udevd has nobody to load them. */
const l1LaterModules = [
  "vfio-pci",
  "vfio_iommu_type1",
  "nvme",
  "e1000e",
  "vmxnet3",
  "xhci_pci",
  "snd_hda_intel",
];

export const rootTag = "pciplug-root";

export interface L1Init {
  /** Folder that holds lib/modules of the kernel. */
  readonly kernelRoot: string;
  /** Node and the server to run with it (see inside.ts). */
  readonly node: string;
  readonly inside: string;
  /** Folders that must stay visible even where they lie below /tmp or /run, which L1 has of its own. */
  readonly needed: readonly string[];
  /** The agent's folder: copied, so that a build that runs meanwhile outside changes nothing in here. */
  readonly dist: string;
  /** Folders of this machine that L1 shall see in the place of others: `[from, to]`. */
  readonly replaced: readonly (readonly [string, string])[];
  readonly portName: string;
}

/** The script: a first half on busybox in the ram disk, a second one, as PID 1, on the shared root. */
export function l1Init(plan: L1Init): string {
  const hidden = plan.needed.filter((path) => /^\/(tmp|run|dev\/shm)\//.test(path));
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod /modules/$module; done < /modules.order
mkdir -p /lower /over /root
# The trees below are read by one machine only and do not change while it runs: cache=loose is safe and much faster.
mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose ${rootTag} /lower
mount -t tmpfs -o size=75%,mode=0755 over /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work root /root || exec sh
mount -t tmpfs -o mode=0755 run /root/run
mount -t tmpfs -o mode=1777 tmp /root/tmp
mkdir -p /root/lib/modules
mount --bind '/lower${plan.kernelRoot}/lib/modules' /root/lib/modules
${hidden.map((path) => `mkdir -p '/root${path}'; mount --bind '/lower${path}' '/root${path}'`).join("\n")}
${plan.replaced.map(([from, to]) => `mount --bind '/lower${from}' '/root${to}'`).join("\n")}
if [ -d '/lower${plan.dist}' ]; then
  cp -a '/lower${plan.dist}' /over/dist && mount --bind /over/dist '/root${plan.dist}'
fi
mkdir -p /root/run/lock /root/dev /root/proc /root/sys
mount --move /proc /root/proc; mount --move /sys /root/sys; mount --move /dev /root/dev
cat > /root/run/pciplug-lab-init <<'SECOND'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=0666 devpts /dev/pts; mount -t tmpfs shm /dev/shm
echo l1 > /proc/sys/kernel/hostname
ip link set lo up 2>/dev/null || busybox ip link set lo up
mkdir -p /run/pciplug-lab
{ modprobe -a ${l1LaterModules.join(" ")} && touch /run/pciplug-lab/modules-loaded; } &
for port in /sys/class/virtio-ports/*; do
  [ "$(cat $port/name)" = ${plan.portName} ] && break
done
'${plan.node}' '${plan.inside}' /dev/\${port##*/} > /dev/console 2>&1 &
# PID 1 only collects what dies; when the server has ended, so has the lab's interest in this machine.
wait $!
echo "lab: the server inside has ended" > /dev/console
echo o > /proc/sysrq-trigger
sleep 60
SECOND
exec switch_root /root /bin/sh /run/pciplug-lab-init
`;
}
