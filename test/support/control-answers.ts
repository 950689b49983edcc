/** Answers of a small agent, for tests of the control socket. Made up. */
import { err } from "../../src/base/result.js";
import type { ControlSource } from "../../src/control/routes.js";
import type { PlanResponse, ReloadResponse, StatusResponse } from "../../src/control/schema.js";

export const aStatus: StatusResponse = {
  schema: "pciplug-status/1",
  agent: { version: "0.1.0", pid: 42, bootId: "b", mode: "act", startedAt: "2026-01-02T03:04:05.000Z" },
  policy: {
    file: "/etc/pciplug/config.yaml",
    version: "0123456789abcdef0123456789abcdef",
    loadedAt: "2026-01-02T03:04:06.000Z",
    refused: null,
  },
  sources: [{ name: "udevadm", state: "missing", detail: "udevadm is not installed" }],
  vms: [
    { name: "a", state: "absent", reason: "no such socket", attached: [] },
    {
      name: "b",
      state: "up",
      runState: "running",
      machine: "pc-q35-7.2-machine",
      pid: 7,
      ports: { free: 1, plugged: 1, unusable: 0 },
      attached: [{ address: "0000:65:00.0", id: "pciplug-0000-65-00.0", bus: "rp1", ours: true }],
    },
  ],
  devices: [
    {
      address: "0000:65:00.0",
      vendor: "10de",
      device: "2204",
      class: "030000",
      driver: "vfio-pci",
      iommuGroup: 12,
      vm: "b",
      state: "attached",
      held: null,
    },
  ],
};

export const aPlan: PlanResponse = {
  schema: "pciplug-plan/1",
  source: "agent",
  steps: [{ kind: "release", vm: "b", addresses: ["0000:65:00.0"], why: "no rule of b names it any more" }],
  assignments: [{ address: "0000:66:00.0", vm: "a", rule: "r" }],
  held: [
    { address: "0000:66:00.0", vm: "a", rule: "r", reason: { kind: "vm-down", message: "a is not running" } },
  ],
  rules: [{ name: "r", mode: "batch", onNoMatch: "wait", matches: 1, got: 1 }],
};

/** What an agent says that knows nothing of what it is asked about. */
const noAnswer = err({ kind: "unknown", message: "cannot explain VM x: there are none" } as const);

export const aReload: ReloadResponse = {
  schema: "pciplug-reload/1",
  applied: true,
  changed: true,
  version: "0123456789abcdef0123456789abcdef",
  issues: [],
  held: [],
};

/** An agent of which only the answers are known. */
export const aControlSource: ControlSource = {
  getStatus: () => aStatus,
  getPlan: () => aPlan,
  getExplanation: () => noAnswer,
  reload: () => Promise.resolve(aReload),
};
