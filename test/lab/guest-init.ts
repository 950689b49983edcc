/**
 * The guest that runs in an L2 machine: the same Debian kernel with busybox. A shell on its second serial port runs
 * one line at a time and marks where its answer begins and ends (see the guest operation in inside.ts).
 */

/** A line on the guest's first serial port that says the shell is there. */
export const guestReady = "lab guest is ready";

export function guestInit(): string {
  return `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod /modules/$module; done < /modules.order
stty -F /dev/ttyS1 raw -echo
exec < /dev/ttyS1
echo "${guestReady}" > /dev/ttyS0
while read -r line; do
  { echo "<begin>"; eval "$line"; echo "<end $?>"; } > /dev/ttyS1 2>&1
done
`;
}

/** For the guest's shell: one line "address vendor:device" for each PCI function it sees. */
export const guestLspci =
  'for d in /sys/bus/pci/devices/*; do read v < $d/vendor; read i < $d/device; echo "$(basename $d) $v:$i"; done';
