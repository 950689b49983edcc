// The first numbers (npm run bench): one JSON line per figure on standard output, progress on standard error.
// Everything runs on the built program: the pure core in this process, the agent on a simulated host and simulated
// QEMUs, and for its start and its rest as a child. Figures say what was measured and how often; none is a threshold.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import { compose } from "../../dist/agent/compose.js";
import { processEdge } from "../../dist/agent/main.js";
import { parseConfig } from "../../dist/config/load.js";
import { hostRoot } from "../../dist/host/root.js";
import { createScanner } from "../../dist/host/scan.js";
import { openStateFolder } from "../../dist/host/state-folder.js";
import { createSimulation } from "../../dist/sim/fleet.js";
import { benchAssign, manyDevices } from "./bench-assign.mjs";

const DEVICES = 4096;
const VMS = 16;
const PLUGS = 200;
const STARTS = 5;
const REST_MS = 32_000;
const HANG_GUARD_MS = 60_000;

const repository = new URL("../..", import.meta.url).pathname;
const main = join(repository, "dist/cli/main.js");
// Not below /tmp: the agent refuses to keep its state where anyone may write.
mkdirSync(join(repository, "build"), { recursive: true });
const scratch = mkdtempSync(join(repository, "build/bench-"));

const hex = (value, digits) => value.toString(16).padStart(digits, "0");
const round = (value) => Number(value.toPrecision(3));
const say = (text) => process.stderr.write(`${text}\n`);
const report = (figure, value, unit, more = {}) =>
  process.stdout.write(`${JSON.stringify({ figure, value: round(value), unit, ...more })}\n`);

/** The value below which this share of the samples lies. */
function quantile(samples, share) {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)];
}
const median = (samples) => quantile(samples, 0.5);

function timed(act) {
  const start = performance.now();
  act();
  return performance.now() - start;
}

async function timedAsync(act) {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

function describeMachine() {
  const [{ model = "unknown" } = {}] = cpus();
  const memoryGiB = Math.round(totalmem() / 2 ** 30);
  process.stdout.write(
    `${JSON.stringify({ machine: model, cores: cpus().length, memoryGiB, node: process.version, kernel: readFileSync("/proc/sys/kernel/osrelease", "utf8").trim() })}\n`,
  );
}

function policyFor(rules, socketOf, more = {}) {
  const vms = Array.from({ length: VMS }, (_, index) => ({
    name: `vm-${index}`,
    qmp: socketOf(`vm-${index}`),
  }));
  const parsed = parseConfig(JSON.stringify({ vms, rules, ...more }), "bench.yaml");
  if (!parsed.ok) {
    throw new Error(JSON.stringify(parsed.error));
  }
  return parsed.value.policy;
}

// --- the inventory -----------------------------------------------------------------------------------------------

async function benchScan() {
  say(`laying out ${DEVICES} devices ...`);
  const dir = join(scratch, "large");
  mkdirSync(dir);
  const cards = manyDevices().map(({ address, vendor, device, class: code }) => ({
    address,
    vendor,
    device,
    class: code,
    driver: null,
  }));
  const simulation = await createSimulation({ dir, cards });
  say("looking at them ...");
  const scanner = createScanner(hostRoot(dir));
  const cold = await timedAsync(() => scanner.scan());
  const warm = [];
  for (let look = 0; look < 3; look += 1) {
    warm.push(await timedAsync(() => scanner.scan()));
  }
  const about = { devices: DEVICES, on: "plain files laid out as sysfs" };
  report("first look at the host", cold, "ms", about);
  report("each further look", median(warm), "ms", { ...about, statistic: "median of 3" });
  await simulation[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true });
}

// --- the agent in this process -----------------------------------------------------------------------------------

const card = { vendor: "10de", device: "2204", class: "030000", driver: "nouveau", iommuGroup: 27 };

function within(promise, what) {
  const late = delay(HANG_GUARD_MS, undefined, { ref: false }).then(() => {
    throw new Error(`never happened: ${what}`);
  });
  return Promise.race([promise, late]);
}

async function benchPlugs() {
  say(`plugging a card ${PLUGS} times ...`);
  const dir = join(scratch, "plugs");
  mkdirSync(dir);
  const simulation = await createSimulation({
    dir,
    vms: [{ name: "vm-0", ports: [{ id: "rp0" }, { id: "rp1" }] }],
    cards: [{ ...card, address: "0000:01:00.0", iommuGroup: 13, vendor: "8086" }],
  });
  const heard = { added: () => undefined, appeared: () => undefined };
  simulation.vm("vm-0").intercept("device_add", () => {
    heard.added(performance.now());
    return undefined;
  });
  const folder = await openStateFolder(join(scratch, "plugs-state"), scratch);
  const base = processEdge("bench");
  const options = {
    version: "bench",
    configPath: "",
    stateDir: folder.path,
    rootDir: dir,
    isObserving: false,
    isOnce: false,
    isDetachConfirmed: false,
    logLevel: "error",
    traceDir: null,
  };
  const rules = [{ name: "nvidia", match: { vendor: "10de" }, vm: "vm-0" }];
  const policy = policyFor(rules, (name) => simulation.socketOf(name));
  const parts = await compose({
    options,
    edge: base,
    root: hostRoot(dir),
    io: simulation.host.io,
    folder,
    policy: { ...policy, vms: policy.vms.slice(0, 1) },
    onError: (error) => {
      throw error;
    },
    onEntry: (entry) => {
      if (entry.event === "device-appeared") {
        heard.appeared(performance.now());
      }
    },
  });
  const { agent } = parts;
  await parts.start();
  await within(
    agent.until(
      (world) => world.vms.get("vm-0")?.kind === "up" && world.sources.get("udev-database")?.kind === "up",
    ),
    "the VM and the source",
  );
  const [total, own] = [[], []];
  for (let round_ = 0; round_ < PLUGS; round_ += 1) {
    const added = new Promise((resolve) => {
      heard.added = resolve;
    });
    const appeared = new Promise((resolve) => {
      heard.appeared = resolve;
    });
    const start = performance.now();
    await simulation.host.plug({ ...card, address: "0000:41:00.0" });
    const addedAt = await within(added, "device_add");
    total.push(addedAt - start);
    own.push(addedAt - (await appeared));
    await within(
      agent.until((world) => world.leases.size === 1 && world.vms.get("vm-0").view?.attached.length === 1),
      "the attached card",
    );
    await simulation.host.pull("0000:41:00.0");
    await within(
      agent.until((world) => world.leases.size === 0 && world.vms.get("vm-0").view?.attached.length === 0),
      "the card's end",
    );
    await agent.settled();
  }
  const about = {
    samples: PLUGS,
    on: "simulated host and QEMU; real files, sockets and fsync",
    source: "udev database",
  };
  for (const [figure, samples] of [
    ["from the plug on the host to device_add on the wire", total],
    ["of which: from the device being seen to device_add on the wire", own],
  ]) {
    report(figure, median(samples), "ms", { ...about, statistic: "median" });
    report(figure, quantile(samples, 0.99), "ms", { ...about, statistic: "p99" });
  }
  await parts.stop();
  parts.abandon();
  folder.close();
  await simulation[Symbol.asyncDispose]();
}

// --- the agent as a process --------------------------------------------------------------------------------------

async function startAgent(args) {
  const start = performance.now();
  const child = spawn(process.execPath, [main, "agent", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  child.stderr.on("data", (text) => {
    errors += text;
  });
  const ended = once(child, "exit").then(() => {
    throw new Error(`the agent ended: ${errors}`);
  });
  ended.catch(() => undefined);
  const [line] = await within(Promise.race([once(child.stdout, "data"), ended]), "Ready");
  if (!String(line).startsWith("Ready")) {
    throw new Error(`not ready: ${line}`);
  }
  return { child, readyMs: performance.now() - start };
}

async function endAgent({ child }) {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
}

/** CPU time of all threads, in seconds (schedstat: nanoseconds; stat has only hundredths). */
function cpuSeconds(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const spent = threads.map((tid) =>
    Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, "utf8").split(" ")[0]),
  );
  return spent.reduce((sum, value) => sum + value, 0) / 1e9;
}

function residentMiB(pid) {
  const [, kib = "0"] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Number(kib) / 1024;
}

async function benchProcess() {
  const dir = join(scratch, "host");
  mkdirSync(dir);
  const at = (index) => `0000:${hex(0x40 + index, 2)}:00.0`;
  const simulation = await createSimulation({
    dir,
    vms: Array.from({ length: 4 }, (_, index) => ({ name: `vm-${index}`, ports: [{ id: "rp0" }] })),
    // On vfio-pci already: the simulated kernel lives in this process, so the child's own binding would not work.
    cards: Array.from({ length: 32 }, (_, index) => ({
      ...card,
      address: at(index),
      iommuGroup: index,
      driver: index < 4 ? "vfio-pci" : "nouveau",
    })),
  });
  const vms = Array.from({ length: 4 }, (_, index) => ({
    name: `vm-${index}`,
    qmp: simulation.socketOf(`vm-${index}`),
  }));
  const rules = vms.map(({ name }, index) => ({ name, match: { address: at(index) }, vm: name }));
  const config = join(scratch, "config.yaml");
  writeFileSync(config, JSON.stringify({ vms, rules }), { mode: 0o644 });
  const args = ["--root", dir, "--config", config, "--state", join(scratch, "state"), "--log-level", "error"];
  const about = { devices: 32, vms: 4, rules: 4 };

  say(`starting the agent ${STARTS} times ...`);
  const times = [];
  for (let start = 0; start < STARTS; start += 1) {
    const agent = await startAgent(args);
    times.push(agent.readyMs);
    await endAgent(agent);
  }
  report("start of the process to Ready", median(times), "ms", {
    ...about,
    statistic: `median of ${STARTS}`,
  });

  const agent = await startAgent(args);
  const { pid } = agent.child;
  say(`letting it rest for ${REST_MS / 1000} s ...`);
  await delay(3_000);
  const before = cpuSeconds(pid);
  const start = performance.now();
  await delay(REST_MS);
  const seconds = (performance.now() - start) / 1000;
  const rest = {
    ...about,
    attached: 4,
    measured: `${round(seconds)} s of rest, one rescan among them, scaled to a minute`,
  };
  report("CPU at rest", ((cpuSeconds(pid) - before) / seconds) * 60, "s/min", rest);
  report("resident memory at rest", residentMiB(pid), "MiB", { ...about, attached: 4 });
  await endAgent(agent);
  await simulation[Symbol.asyncDispose]();
}

try {
  describeMachine();
  benchAssign({ report, median, timed, say }, repository);
  await benchScan();
  await benchPlugs();
  await benchProcess();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
process.exit();
