/** Watching: each source alone, all together, missing ones, and what is left when nobody listens any more. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Subscription } from "rxjs";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { SourceSettings } from "../../src/core/policy.js";
import { type HostWake, type HostWatchDeps, watchHost } from "../../src/host/watch.js";
import type { SourceEvent } from "../../src/host/watch-source.js";
import { type SysfsPollingDeps, watchSysfs } from "../../src/host/watch-sysfs.js";
import { watchUdevadm } from "../../src/host/watch-udevadm.js";
import { aFolder, aSysfs, type Sysfs } from "../support/sysfs.js";

const none: SourceSettings = { udevadm: false, udevDatabase: false, sysfsPolling: false, rescanMs: null };
const nobody = ["/nonexistent/udevadm"];
/** As udevadm prints it, with what stands for an event taken from a file. */
const monitor = (dir: string): readonly string[] => [
  "sh",
  "-c",
  `echo "monitor will print the received events for:"
   echo "UDEV - the event which udev sends out after rule processing"
   echo "KERNEL - the kernel uevent"
   echo
   echo $$ > ${dir}/monitor.pid
   exec tail -n +1 -F ${dir}/events 2>/dev/null`,
];
const event = "KERNEL[12.345678] add      /devices/pci0000:00/0000:01:00.0 (pci)\nACTION=add\nSEQNUM=1\n\n";

interface Watching {
  readonly wakes: HostWake[];
  readonly announced: unknown[];
  readonly subscription: Subscription;
  stateOf(name: string): string | undefined;
  detailOf(name: string): string | undefined;
  looks(): readonly string[];
}

function watching(
  sysfs: Sysfs,
  settings: Partial<SourceSettings>,
  deps: Partial<HostWatchDeps> = {},
): Watching {
  const wakes: HostWake[] = [];
  const announced: unknown[] = [];
  const subscription = watchHost({
    root: sysfs.root,
    settings: { ...none, ...settings },
    isObserving: false,
    announce: async (write) => {
      announced.push(write);
    },
    udevadmCommand: nobody,
    pollMs: 20,
    ...deps,
  }).subscribe((wake) => wakes.push(wake));
  onTestFinished(() => subscription.unsubscribe());
  const last = (name: string) => wakes.findLast((wake) => wake.kind === "source" && wake.name === name);
  const stateIn = (wake: HostWake | undefined) => (wake?.kind === "source" ? wake.state : undefined);
  return {
    wakes,
    announced,
    subscription,
    stateOf: (name) => stateIn(last(name))?.kind,
    detailOf: (name) => stateIn(last(name))?.detail,
    looks: () => wakes.flatMap((wake) => (wake.kind === "look" ? wake.source : [])),
  };
}

function host(): Sysfs {
  return aSysfs(aFolder(onTestFinished));
}

/** Waits for what has happened so far to be over. */
async function quiet(seen: Watching): Promise<void> {
  let before = -1;
  while (seen.wakes.length !== before) {
    before = seen.wakes.length;
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  seen.wakes.splice(0, seen.wakes.length, ...seen.wakes.filter((wake) => wake.kind === "source"));
}

function openDescriptors(): readonly string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`);
      return target.startsWith("anon_inode:inotify") || target.startsWith("pipe:") ? target : [];
    } catch {
      return [];
    }
  });
}

describe("each source alone carries a plug and an unplug", () => {
  it("polling the devices folder, which outside sysfs is never primed", async () => {
    const tree = host();
    const seen = watching(tree, { sysfsPolling: true });
    await vi.waitFor(() => expect(seen.stateOf("sysfs-polling")).toBe("up"), 5_000);
    await quiet(seen);
    tree.device({ address: "0000:01:00.0" });
    await vi.waitFor(() => expect(seen.looks()).toContain("sysfs-polling"), 5_000);
    await quiet(seen);
    tree.unplug("0000:01:00.0");
    await vi.waitFor(() => expect(seen.looks()).toContain("sysfs-polling"), 5_000);
    expect(seen.announced).toEqual([]);
  });

  it("the udev database, where only entries of PCI devices count", async () => {
    const tree = host().file("run/udev/data/b8:0", "");
    const seen = watching(tree, { udevDatabase: true });
    await vi.waitFor(() => expect(seen.stateOf("udev-database")).toBe("up"), 5_000);
    await quiet(seen);
    tree.file("run/udev/data/+pci:0000:01:00.0", "E:A=1\n");
    await vi.waitFor(() => expect(seen.looks()).toContain("udev-database"), 5_000);
    await quiet(seen);
    tree.remove("run/udev/data/+pci:0000:01:00.0");
    await vi.waitFor(() => expect(seen.looks()).toContain("udev-database"), 5_000);
    await quiet(seen);
    tree.file("run/udev/data/+usb:1-1", "").file("run/udev/data/c1:3", "").remove("run/udev/data/b8:0");
    await quiet(seen);
    expect(seen.looks()).toEqual([]);
  });

  it("udevadm monitor, which is up only once its header is out", async () => {
    const tree = host().file("events", "");
    const seen = watching(tree, { udevadm: true }, { udevadmCommand: monitor(tree.dir) });
    await vi.waitFor(() => expect(seen.stateOf("udevadm")).toBe("up"), 5_000);
    await quiet(seen);
    writeFileSync(join(tree.dir, "events"), event, { flag: "a" });
    await vi.waitFor(() => expect(seen.looks()).toEqual(["udevadm"]), 5_000);
  });

  it("the rescan", async () => {
    const seen = watching(host(), { rescanMs: 20 });
    await vi.waitFor(() => expect(seen.looks().length).toBeGreaterThan(2), 5_000);
    expect(new Set(seen.looks())).toEqual(new Set(["rescan"]));
    expect(seen.stateOf("rescan")).toBe("up");
  });
});

describe("sources that are missing", () => {
  it("are told, with the reason, when switched off, not installed or not there", async () => {
    const seen = watching(host(), { udevadm: true, udevDatabase: true });
    await vi.waitFor(() => expect(seen.stateOf("udevadm")).toBe("missing"), 5_000);
    expect(seen.detailOf("udevadm")).toMatch(/cannot start .*udevadm/);
    expect(seen.detailOf("udev-database")).toMatch(/there is no .*run\/udev\/data/);
    expect(seen.stateOf("sysfs-polling")).toBe("off");
    expect(seen.stateOf("rescan")).toBe("off");
  });

  it("udevadm is missing while its monitor does not announce itself, and up as soon as it does", async () => {
    const tree = host().file("go", "");
    const late = ["sh", "-c", `tail -n +1 -F ${tree.dir}/go 2>/dev/null`];
    const states: string[] = [];
    const subscription = watchUdevadm(tree.root, late, 20).subscribe((said) => {
      if (said.kind === "state") {
        states.push(said.state.kind);
      }
    });
    onTestFinished(() => subscription.unsubscribe());
    await vi.waitFor(() => expect(states).toEqual(["missing"]), 5_000);
    writeFileSync(join(tree.dir, "go"), "KERNEL - the kernel uevent\n\n", { flag: "a" });
    await vi.waitFor(() => expect(states).toEqual(["missing", "up"]), 5_000);
  });

  it("the udev database is waited for from above, and again after it was taken away", async () => {
    const tree = host();
    const seen = watching(tree, { udevDatabase: true });
    for (const folder of ["run", "run/udev"]) {
      await vi.waitFor(() => expect(seen.stateOf("udev-database")).toBe("missing"), 5_000);
      mkdirSync(join(tree.dir, "run/udev/data"), { recursive: true });
      await vi.waitFor(() => expect(seen.stateOf("udev-database")).toBe("up"), 5_000);
      await quiet(seen);
      tree.file("run/udev/data/+pci:0000:01:00.0", "");
      await vi.waitFor(() => expect(seen.looks()).toEqual(["udev-database"]), 5_000);
      rmSync(join(tree.dir, folder), { recursive: true });
    }
    await vi.waitFor(() => expect(seen.stateOf("udev-database")).toBe("missing"), 5_000);
  });

  it("a monitor that dies says so with its last words and is started again", async () => {
    const tree = host().file("events", "");
    const seen = watching(tree, { udevadm: true }, { udevadmCommand: monitor(tree.dir) });
    await vi.waitFor(() => expect(seen.stateOf("udevadm")).toBe("up"), 5_000);
    const pid = Number(readFileSync(join(tree.dir, "monitor.pid"), "utf8"));
    process.kill(pid, "SIGKILL");
    await vi.waitFor(() => expect(seen.detailOf("udevadm")).toMatch(/ended \(SIGKILL\)/), 5_000);
    await quiet(seen);
    await vi.waitFor(() => expect(seen.stateOf("udevadm")).toBe("up"), 5_000);
    // What happened in between was seen by nobody: coming up is a reason to look.
    await vi.waitFor(() => expect(seen.looks()).toContain("udevadm"), 5_000);
  });

  it("udevadm is not asked about another root than the machine's own", async () => {
    const { udevadmCommand: _, ...deps } = { udevadmCommand: nobody };
    const wakes: HostWake[] = [];
    const subscription = watchHost({
      root: host().root,
      settings: { ...none, udevadm: true },
      isObserving: false,
      announce: async () => undefined,
      ...deps,
    }).subscribe((wake) => wakes.push(wake));
    onTestFinished(() => subscription.unsubscribe());
    expect(wakes).toContainEqual({
      kind: "source",
      name: "udevadm",
      state: { kind: "missing", detail: "udevadm speaks of the machine it runs on, not of this root" },
    });
  });
});

describe("polling on `auto`", () => {
  it("stands in while no event source is up, and rests while one is", async () => {
    const tree = host();
    const seen = watching(tree, { udevadm: true, udevDatabase: true, sysfsPolling: "auto" });
    await vi.waitFor(() => expect(seen.stateOf("sysfs-polling")).toBe("up"), 5_000);
    mkdirSync(join(tree.dir, "run/udev/data"), { recursive: true });
    await vi.waitFor(() => expect(seen.stateOf("sysfs-polling")).toBe("off"), 5_000);
    rmSync(join(tree.dir, "run"), { recursive: true });
    await vi.waitFor(() => expect(seen.stateOf("sysfs-polling")).toBe("up"), 5_000);
  });

  it("stands in when both event sources are switched off", async () => {
    const seen = watching(host(), { sysfsPolling: "auto" });
    await vi.waitFor(() => expect(seen.stateOf("sysfs-polling")).toBe("up"), 5_000);
  });
});

describe("priming", () => {
  const onSysfs = {
    isSysfs: async () => true,
    pollMs: 20,
    isObserving: false,
    announce: async () => undefined,
  };

  function polling(tree: Sysfs, deps: Partial<SysfsPollingDeps>): SourceEvent[] {
    const events: SourceEvent[] = [];
    const polling$ = watchSysfs({ root: tree.root, ...onSysfs, ...deps });
    const subscription = polling$.subscribe((said) => events.push(said));
    onTestFinished(() => subscription.unsubscribe());
    return events;
  }

  it("sets the folder's times once, after its audit line, and checks that they took", async () => {
    const tree = host();
    const before = statSync(tree.root.devices()).mtimeMs;
    const announced: unknown[] = [];
    const announce = async (write: unknown): Promise<void> => {
      announced.push(write, statSync(tree.root.devices()).mtimeMs);
    };
    const events = polling(tree, { announce });
    await vi.waitFor(() => expect(events[0]).toMatchObject({ state: { kind: "up" } }), 5_000);
    expect(announced).toEqual([{ path: tree.root.devices(), text: "utimes" }, before]);
    expect(statSync(tree.root.devices()).mtimeMs).toBeLessThan(before);
  });

  it.each<[string, Partial<SysfsPollingDeps>, RegExp]>([
    ["while observing", { isObserving: true }, /not done while observing/],
    ["without its audit line", { announce: () => Promise.reject(new Error("disk full")) }, /disk full/],
  ])("is not done %s, and that is said", async (_, deps, why) => {
    const tree = host();
    const before = statSync(tree.root.devices()).mtimeMs;
    const events = polling(tree, deps);
    await vi.waitFor(() => expect(events).toHaveLength(1), 5_000);
    expect(events).toMatchObject([{ state: { kind: "missing", detail: expect.stringMatching(why) } }]);
    expect(statSync(tree.root.devices()).mtimeMs).toBe(before);
  });

  it("has nothing to do where there is no PCI bus, and that is said", async () => {
    const tree = host().remove("sys/bus/pci");
    const events = polling(tree, { isSysfs: (folder) => Promise.resolve(statSync(folder).isDirectory()) });
    await vi.waitFor(() => expect(events).toMatchObject([{ state: { kind: "missing" } }]), 5_000);
  });
});

describe("a burst", () => {
  it("is far fewer looks than events", async () => {
    const tree = host().file("run/udev/data/x", "");
    const seen = watching(tree, { udevDatabase: true }, { burstMs: 200 });
    await vi.waitFor(() => expect(seen.stateOf("udev-database")).toBe("up"), 5_000);
    await quiet(seen);
    for (let bus = 0; bus < 50; bus += 1) {
      tree.file(`run/udev/data/+pci:0000:${bus.toString(16).padStart(2, "0")}:00.0`, "E:A=1\n");
    }
    await vi.waitFor(() => expect(seen.looks()).toContain("udev-database"), 5_000);
    expect(seen.looks().length).toBeLessThan(25);
  });
});

describe("unsubscribing", () => {
  it("ends children, watchers and timers", async () => {
    const before = openDescriptors();
    const tree = host().file("run/udev/data/x", "").file("events", "");
    const settings = { udevadm: true, udevDatabase: true, sysfsPolling: true, rescanMs: 20 } as const;
    const seen = watching(tree, settings, { udevadmCommand: monitor(tree.dir) });
    const names = ["udevadm", "udev-database", "sysfs-polling", "rescan"];
    await vi.waitFor(() => expect(names.map(seen.stateOf)).toEqual(["up", "up", "up", "up"]), 5_000);
    const pid = readFileSync(join(tree.dir, "monitor.pid"), "utf8").trim();
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    seen.subscription.unsubscribe();
    const count = seen.wakes.length;
    await vi.waitFor(() => expect(existsSync(`/proc/${pid}`)).toBe(false), 5_000);
    await vi.waitFor(() => expect(openDescriptors().length).toBeLessThanOrEqual(before.length), 5_000);
    tree.device({ address: "0000:01:00.0" }).file("run/udev/data/+pci:0000:01:00.0", "");
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(seen.wakes).toHaveLength(count);
    expect(
      process.getActiveResourcesInfo().filter((name) => /StatWatcher|FSEvent|ChildProcess/.test(name)),
    ).toEqual([]);
  });
});
