/**
 * What the kernel of the L1 machine says: drivers, overrides, IOMMU groups, uevents. The stories assert on this,
 * never on the agent's own word. It also holds the few things that are done by hand on that host.
 */
import type { Channel } from "./channel.js";
import type { ExecResult } from "./protocol.js";

/** Hang guard for one look at the machine; a look takes well below a second. */
const lookDeadlineMs = 60_000;
const ueventLog = "/run/pciplug-lab/uevents.log";

/** What sysfs shows of one PCI function. */
export interface Facts {
  readonly vendor: string;
  readonly device: string;
  /** `null` when no driver is bound. */
  readonly driver: string | null;
  /** `null` when unset. */
  readonly override: string | null;
  readonly iommuGroup: string | null;
  /** Inode of the `driver` link: sysfs makes a new one at every bind, so the same number means "never re-bound". */
  readonly binding: string | null;
}

export class Host {
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** Runs a shell command and gives what became of it. */
  exec(command: string, deadlineMs = lookDeadlineMs): Promise<ExecResult> {
    return this.#channel.ask("exec", { command, deadlineMs });
  }

  /** Runs a shell command and gives what it printed; throws when it fails. */
  async sh(command: string, deadlineMs = lookDeadlineMs): Promise<string> {
    const result = await this.exec(command, deadlineMs);
    if (result.code === 0) return result.stdout.trim();
    const end = result.timedOut ? `no end within ${deadlineMs} ms` : `exit ${result.code ?? result.signal}`;
    throw new Error(`in L1, \`${command}\`: ${end}\n${result.stderr}`);
  }

  write(path: string, text: string, mode = 0o600): Promise<null> {
    return this.#channel.ask("write", { path, text, mode });
  }

  async read(path: string): Promise<string | null> {
    return (await this.#channel.ask("read", { path })).text;
  }

  /** Waits inside L1 until a shell command succeeds; throws `what` with the last attempt when it never does. */
  async until(what: string, command: string, deadlineMs = 120_000): Promise<void> {
    const result = await this.#channel.ask("until", { command, deadlineMs, everyMs: 200 });
    if (result.isMet) return;
    const { code, stdout, stderr } = result.last;
    const said = `${result.attempts} attempts, exit ${code}\n${stdout}${stderr}`.trim();
    throw new Error(`not seen within ${deadlineMs} ms: ${what} (\`${command}\`: ${said})`);
  }

  /** The facts of one function, or `null` when it is not there. */
  async facts(address: string): Promise<Facts | null> {
    const text = await this.sh(`cd /sys/bus/pci/devices/${address} 2>/dev/null || exit 0
      name() { [ -L $1 ] && { at=$(readlink $1); echo "$1=\${at##*/}"; }; }
      name driver; name iommu_group
      [ -L driver ] && echo "binding=$(stat -c %i driver)"
      echo "vendor=$(cat vendor)"; echo "device=$(cat device)"; echo "override=$(cat driver_override)"`);
    if (text === "") return null;
    const field = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(text)?.[1] ?? null;
    const override = field("override");
    return {
      vendor: field("vendor")?.slice(2) ?? "",
      device: field("device")?.slice(2) ?? "",
      driver: field("driver"),
      override: override === "(null)" ? null : override,
      iommuGroup: field("iommu_group"),
      binding: field("binding"),
    };
  }

  /** Addresses of all functions. */
  async addresses(): Promise<string[]> {
    return (await this.sh("ls /sys/bus/pci/devices")).split("\n");
  }

  /** Everything on this host that vfio or an override still holds on to: empty on a clean host. */
  async leftovers(): Promise<string[]> {
    const text = await this.sh(`
      for d in /sys/bus/pci/drivers/vfio-pci/*:*; do [ -e $d ] && echo "\${d##*/} is bound to vfio-pci"; done
      for n in /dev/vfio/[0-9]*; do [ -e $n ] && echo "$n exists"; done
      for f in /sys/bus/pci/devices/*/driver_override; do
        read -r o < $f; [ "$o" = "(null)" ] || echo "$f is $o"
      done; true`);
    return text === "" ? [] : text.split("\n");
  }

  /** Waits until the function is bound to a driver. */
  async untilBound(address: string, driver: string): Promise<void> {
    await this.until(
      `${address} bound to ${driver}`,
      `[ "$(basename "$(readlink /sys/bus/pci/devices/${address}/driver)")" = ${driver} ]`,
    );
  }

  /** Binds a function to vfio-pci by hand, as an operator would (driver_override, unbind, drivers_probe). */
  async bindToVfio(address: string): Promise<void> {
    await this.sh(`cd /sys/bus/pci/devices/${address} && echo vfio-pci > driver_override &&
      { [ ! -L driver ] || echo ${address} > driver/unbind; } && echo ${address} > /sys/bus/pci/drivers_probe`);
    await this.untilBound(address, "vfio-pci");
  }

  /** Gives a function back by hand. An empty line, not an empty string, clears an override (facts.md 9). */
  async giveBack(address: string): Promise<void> {
    await this.sh(`cd /sys/bus/pci/devices/${address} && echo > driver_override &&
      echo ${address} > driver/unbind && echo ${address} > /sys/bus/pci/drivers_probe`);
  }

  /** Starts udevd and lets it look at the PCI devices that are there, as at boot. */
  async startUdev(): Promise<void> {
    await this.sh(
      `mkdir -p /run/udev && /lib/systemd/systemd-udevd --daemon &&
       udevadm trigger --action=add --subsystem-match=pci && udevadm settle --timeout=60`,
      120_000,
    );
  }

  /** Ends udevd and removes its database. */
  async stopUdev(): Promise<void> {
    await this.sh("udevadm control --exit; rm -rf /run/udev");
    await this.until("no udevd", "! pidof systemd-udevd");
  }

  /** Begins to write down the kernel's uevents of PCI devices: a witness that neither agent nor sysfs can bend. */
  async recordUevents(): Promise<void> {
    await this.#channel.ask("spawn", {
      argv: ["stdbuf", "-oL", "udevadm", "monitor", "--kernel", "--subsystem-match=pci"],
      stdout: ueventLog,
      stderr: "/dev/null",
    });
    await this.until("the recorder of uevents", `grep -q KERNEL ${ueventLog}`);
  }

  /** Lines such as `bind 0000:01:00.0`, in order, since boot. */
  async uevents(): Promise<string[]> {
    const text = (await this.read(ueventLog)) ?? "";
    return [...text.matchAll(/^KERNEL\[[\d.]+\] (\w+)\s+\S*\/(\S+) \(pci\)$/gm)].map(
      (m) => `${m[1]} ${m[2]}`,
    );
  }
}
