/**
 * Inner QEMUs ("L2"): the VMs into which the agent plugs. Each has one monitor for the agent and one of the story's
 * own, on which QEMU itself is asked what it holds; QEMU writes down all QMP traffic by its own trace.
 */
import type { Channel } from "./channel.js";
import type { Guest } from "./guest.js";
import { guestLspci } from "./guest-init.js";
import type { Host } from "./host.js";
import type { QemuBuild } from "./qemu-build.js";
import type { QmpCommand, QmpReply } from "./qmp.js";
import { guestArguments, type Hotplug, machineArguments } from "./vm-arguments.js";

export interface VmPlan {
  readonly name: string;
  /** How its root ports plug: `acpi` needs a running guest to unplug, `native` does not (facts.md 3). */
  readonly hotplug: Hotplug;
  /** `paused`: never started (-S), no guest needed. `guest`: a real Linux runs in it. */
  readonly state: "paused" | "guest";
  /** Runs as this user, without any capability, and may lock so much memory; root without. */
  readonly user?: { readonly uid: number; readonly memlockBytes: number };
  /** More QEMU arguments, such as a device on its own command line. */
  readonly extra?: readonly string[];
}

/** QEMU's refusal, as on the wire. */
export type QmpError = Extract<QmpReply, { readonly error: unknown }>["error"];

/** A vfio-pci device as QEMU lists it. */
export interface VmDevice {
  /** The last part of its QOM path: the id, or `device[N]` without one. */
  readonly id: string;
  /** The host's address of the card. */
  readonly host: string;
  readonly bus: string;
}

const startDeadlineMs = 120_000;
const commandDeadlineMs = 60_000;

export class Vm {
  readonly plan: VmPlan;
  /** The monitor that the agent is told of. */
  readonly socket: string;
  readonly #channel: Channel;
  readonly #host: Host;
  readonly #qemu: QemuBuild;
  readonly #guest: Guest;
  #pid: number | undefined;

  constructor(plan: VmPlan, channel: Channel, host: Host, qemu: QemuBuild, guest: Guest) {
    this.plan = plan;
    // Another user than root can make a socket only in a folder of its own.
    this.socket = plan.user === undefined ? `/run/${plan.name}.sock` : `${this.#files().folder}/agent.sock`;
    this.#channel = channel;
    this.#host = host;
    this.#qemu = qemu;
    this.#guest = guest;
  }

  /** Starts QEMU and waits until its monitors answer (and its guest, if it has one). */
  async start(): Promise<void> {
    const files = this.#files();
    // The agent's socket file stays, as after a crash; only what the story itself waits for must be new.
    await this.#host.sh(`rm -f ${files.monitor} ${files.guest}; mkdir -p ${files.folder}`);
    const { user } = this.plan;
    if (user !== undefined) await this.#host.sh(`chown ${user.uid}:${user.uid} ${files.folder}`);
    const { pid } = await this.#channel.ask("spawn", {
      argv: [...this.#asUser(), ...this.#launcher(), ...this.#qemu.command, ...this.#arguments()],
      env: this.#qemu.env,
      stdout: files.output,
      stderr: files.output,
    });
    this.#pid = pid;
    await this.#host.until(
      `monitors of VM ${this.plan.name}`,
      `[ -S ${files.monitor} ] || ! kill -0 ${pid} 2>/dev/null`,
      startDeadlineMs,
    );
    const state = await this.#channel.ask("ended", { pid, deadlineMs: 0 });
    if (state.kind === "ended") {
      throw new Error(`cannot start VM ${this.plan.name}: ${await this.#host.read(files.output)}`);
    }
    await this.#untilState(this.plan.state === "paused" ? "prelaunch" : "running");
    if (this.plan.state === "guest") await this.guest("true");
  }

  /** SIGKILL, as in a crash: the socket file stays behind. */
  async kill(): Promise<void> {
    if (this.#pid === undefined) return;
    await this.#channel.ask("signal", { pid: this.#pid, signal: "SIGKILL" });
    const state = await this.#channel.ask("ended", { pid: this.#pid, deadlineMs: commandDeadlineMs });
    if (state.kind === "running") throw new Error(`VM ${this.plan.name} did not die`);
    this.#pid = undefined;
  }

  /** Runs commands on the story's own monitor; throws QEMU's refusal. */
  async qmp(commands: readonly QmpCommand[]): Promise<unknown[]> {
    const replies = await this.#replies(commands);
    return replies.map((reply, index) => {
      if ("error" in reply)
        throw new Error(`VM ${this.plan.name}, ${commands[index]?.execute}: ${reply.error.desc}`);
      return reply.return;
    });
  }

  /** The process id of QEMU. */
  get pid(): number {
    if (this.#pid === undefined) throw new Error(`VM ${this.plan.name} does not run`);
    return this.#pid;
  }

  /** Has QEMU add one of the host's devices, by hand on the story's own monitor, and gives its error, if any. */
  async addByHand(address: string, id: string, bus: string): Promise<QmpError | null> {
    const device = { driver: "vfio-pci", host: address, id, bus, addr: "0" };
    const [reply] = await this.#replies([{ execute: "device_add", arguments: device }]);
    return reply !== undefined && "error" in reply ? reply.error : null;
  }

  #replies(commands: readonly QmpCommand[]): Promise<readonly QmpReply[]> {
    if (commands.length === 0) return Promise.resolve([]);
    const socket = this.#files().monitor;
    return this.#channel.ask("qmp", { socket, commands, deadlineMs: commandDeadlineMs });
  }

  /**
   * The vfio devices in this VM, asked of QEMU's object model, which does not depend on the guest (facts.md 2).
   * One that leaves between the list and the question about it is not there.
   */
  async devices(): Promise<VmDevice[]> {
    const homes = ["/machine/peripheral", "/machine/peripheral-anon"];
    const lists = await this.qmp(homes.map((path) => ({ execute: "qom-list", arguments: { path } })));
    const paths = lists.flatMap((list, index) =>
      (list as { name: string; type: string }[])
        .filter(({ type }) => type === "child<vfio-pci>")
        .map(({ name }) => `${homes[index]}/${name}`),
    );
    const properties = paths.flatMap((path) =>
      ["sysfsdev", "parent_bus"].map((property) => ({ execute: "qom-get", arguments: { path, property } })),
    );
    const values = await this.#replies(properties);
    return paths.flatMap((path, index) => {
      const [host, bus] = values.slice(2 * index, 2 * index + 2).map(textOf);
      return host === undefined || bus === undefined
        ? []
        : [{ id: lastPart(path), host: lastPart(host), bus: lastPart(bus) }];
    });
  }

  /** Has one line run by the guest's shell and gives what it printed. */
  async guest(line: string): Promise<string> {
    const socket = this.#files().guest;
    const { code, output } = await this.#channel.ask("guest", {
      socket,
      line,
      deadlineMs: commandDeadlineMs,
    });
    if (code !== 0) throw new Error(`in the guest, \`${line}\`: exit ${code}\n${output}`);
    return output.trim();
  }

  /** What the guest sees: `vendor:device` of each PCI function. */
  async guestSees(): Promise<string[]> {
    const lines = (await this.guest(guestLspci)).split("\n");
    return lines.map((line) => (line.split(" ")[1] ?? "").replaceAll("0x", ""));
  }

  /** All device_add and device_del commands that this VM's QEMU has been given, as its own trace shows them. */
  async hotplugCommands(): Promise<string[]> {
    const trace = (await this.#host.read(this.#files().trace)) ?? "";
    return [...trace.matchAll(/handle_qmp_command.* req: (.*"device_(?:add|del)".*)$/gm)].map(
      (m) => m[1] ?? "",
    );
  }

  #files() {
    const folder = `/run/pciplug-lab/vm-${this.plan.name}`;
    return {
      folder,
      output: `${folder}/qemu.log`,
      trace: `${folder}/qmp-trace.log`,
      console: `${folder}/console.log`,
      monitor: `${folder}/story.sock`,
      guest: `${folder}/guest.sock`,
    };
  }

  #arguments(): string[] {
    const files = this.#files();
    return [
      ...["-name", this.plan.name, ...machineArguments(this.plan.hotplug)],
      ...[
        "-qmp",
        `unix:${this.socket},server=on,wait=off`,
        "-qmp",
        `unix:${files.monitor},server=on,wait=off`,
      ],
      ...["-D", files.trace, "-trace", "handle_qmp_command", "-trace", "monitor_qmp_respond"],
      ...(this.plan.state === "paused" ? ["-S"] : this.#guestArguments()),
      ...(this.plan.extra ?? []),
    ];
  }

  #guestArguments(): string[] {
    const { image, state, hotplug } = this.#guest;
    if (hotplug !== this.plan.hotplug)
      throw new Error(`there is no guest for ports that plug by ${this.plan.hotplug}`);
    const files = this.#files();
    const source = this.#readsFiles() ? `file:${state}` : "fd:3";
    return [...guestArguments(image, files.console, files.guest), "-incoming", source];
  }

  #asUser(): string[] {
    const { user } = this.plan;
    if (user === undefined) return [];
    const { uid, memlockBytes } = user;
    const privileges = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--inh-caps=-all"];
    return ["prlimit", `--memlock=${memlockBytes}`, "setpriv", ...privileges];
  }

  /** Older QEMUs take a saved guest up from a descriptor; a pipe would cost seconds in an emulated CPU. */
  #launcher(): string[] {
    if (this.plan.state === "paused" || this.#readsFiles()) return [];
    return ["sh", "-c", 'exec "$@" 3< "$0"', this.#guest.state];
  }

  /** The `file:` transport came with QEMU 8.2. */
  #readsFiles(): boolean {
    return Number(this.#qemu.version.split(".")[0]) >= 9;
  }

  /**
   * Waits for a run state. The socket file is there a moment before QEMU listens on it, and a saved guest is taken up
   * while QEMU already answers.
   */
  async #untilState(wanted: string): Promise<void> {
    const startedMs = performance.now();
    for (;;) {
      const answer = await this.qmp([{ execute: "query-status" }]).catch((error: unknown) => [error]);
      const [status] = answer as { status?: string }[];
      if (status?.status === wanted) return;
      if (performance.now() - startedMs > startDeadlineMs) {
        throw new Error(`VM ${this.plan.name} is not ${wanted} but ${JSON.stringify(status)}`);
      }
    }
  }
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** The text of an answer; `undefined` when there is no such device any more. Any other refusal is an error. */
function textOf(reply: QmpReply): string | undefined {
  if (!("error" in reply)) return String(reply.return);
  if (reply.error.class === "DeviceNotFound") return undefined;
  throw new Error(`qom-get: ${reply.error.desc}`);
}
