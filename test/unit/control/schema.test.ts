import { describe, expect, expectTypeOf, it } from "vitest";
import type { ExplainResponse } from "../../../src/control/explain-schema.js";
import {
  type PlanResponse,
  planResponse,
  type StatusResponse,
  statusResponse,
} from "../../../src/control/schema.js";
import { type DeviceReport, reportDevices } from "../../../src/core/device-report.js";
import type { Explanation } from "../../../src/core/explanation.js";
import { type PlanReport, reportPlan, type VmReport } from "../../../src/core/report.js";
import { emptyWorld } from "../../../src/core/world.js";
import { aPlan, aStatus } from "../../support/control-answers.js";

describe("the answers of the control socket", () => {
  it("have room for everything that core reports", () => {
    expectTypeOf<PlanReport>().toExtend<PlanResponse>();
    expectTypeOf<Explanation>().toExtend<ExplainResponse>();
    expectTypeOf<VmReport>().toExtend<StatusResponse["vms"][number]>();
    expectTypeOf<DeviceReport>().toExtend<StatusResponse["devices"][number]>();
    const plan: PlanResponse = reportPlan(emptyWorld, "agent");
    const devices: StatusResponse["devices"] = reportDevices(emptyWorld);
    expect(planResponse.parse(plan)).toEqual(plan);
    expect(statusResponse.parse({ ...aStatus, devices })).toEqual({ ...aStatus, devices });
  });

  it("survive the wire", () => {
    expect(statusResponse.parse(JSON.parse(JSON.stringify(aStatus)))).toEqual(aStatus);
    expect(planResponse.parse(JSON.parse(JSON.stringify(aPlan)))).toEqual(aPlan);
  });

  it("may have keys that this version does not know, but no other schema and no unknown state", () => {
    expect(statusResponse.parse({ ...aStatus, later: 1 })).toEqual(aStatus);
    expect(statusResponse.safeParse({ ...aStatus, schema: "pciplug-status/2" }).success).toBe(false);
    const [vm] = aStatus.vms;
    expect(statusResponse.safeParse({ ...aStatus, vms: [{ ...vm, state: "asleep" }] }).success).toBe(false);
  });
});
