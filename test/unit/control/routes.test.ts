import { describe, expect, it } from "vitest";
import { AgentError } from "../../../src/base/error.js";
import { buildRoutes } from "../../../src/control/routes.js";
import { errorResponse } from "../../../src/control/schema.js";
import { aControlSource, aPlan, aReload, aStatus } from "../../support/control-answers.js";

const routes = buildRoutes(aControlSource);

async function codeOf(response: Response): Promise<string> {
  return errorResponse.parse(await response.json()).error.code;
}

describe("the verbs", () => {
  it("answer with status and plan", async () => {
    expect(await (await routes.request("/v1/status")).json()).toEqual(aStatus);
    expect(await (await routes.request("/v1/plan")).json()).toEqual(aPlan);
  });

  it("read the file again on POST, which is the only way to ask for that", async () => {
    const asked: unknown[] = [];
    const own = buildRoutes({
      ...aControlSource,
      reload: (request) => {
        asked.push(request);
        return Promise.resolve(aReload);
      },
    });
    const post = (body?: string) =>
      own.request("/v1/reload", {
        method: "POST",
        ...(body === undefined ? {} : { body, headers: { "content-length": String(body.length) } }),
      });
    expect(await (await post()).json()).toEqual(aReload);
    expect(await (await post('{"confirm":true}')).json()).toEqual(aReload);
    expect(asked).toEqual([{}, { confirm: true }]);
    for (const body of ["confirm", "[]", '{"confirm":"yes"}', '{"confirm":true,"force":true}']) {
      const response = await post(body);
      expect([response.status, await codeOf(response)]).toEqual([400, "control.bad-request"]);
    }
    const get = await own.request("/v1/reload");
    expect([get.status, get.headers.get("allow")]).toEqual([405, "POST"]);
    expect(asked.length).toBe(2);
  });

  it("explain what they are asked about, one thing at a time", async () => {
    const asked: unknown[] = [];
    const explaining = buildRoutes({
      ...aControlSource,
      getExplanation: (question) => {
        asked.push(question);
        return aControlSource.getExplanation(question);
      },
    });
    for (const query of ["address=0000:65:00.0", "vm=a", "rule=gpu-%41"]) {
      const response = await explaining.request(`/v1/explain?${query}`);
      expect([response.status, await codeOf(response)]).toEqual([404, "control.unknown"]);
    }
    expect(asked).toEqual([
      { about: "device", address: "0000:65:00.0" },
      { about: "vm", name: "a" },
      { about: "rule", name: "gpu-A" },
    ]);
    for (const query of ["", "?vm=a&rule=b", "?name=a"]) {
      const response = await explaining.request(`/v1/explain${query}`);
      expect([response.status, await codeOf(response)]).toEqual([400, "control.bad-request"]);
    }
    expect((await explaining.request("/v1/explain?vm=a", { method: "POST" })).status).toBe(405);
  });

  it("say so when there is no such path", async () => {
    const response = await routes.request("/v2/status");
    expect([response.status, await codeOf(response)]).toEqual([404, "control.not-found"]);
  });

  it.each(["POST", "PUT", "DELETE", "PATCH"])("do not take %s", async (method) => {
    const response = await routes.request("/v1/status", { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect(await codeOf(response)).toBe("control.method-not-allowed");
  });

  it("take no body, of known length or not, and hang up on it", async () => {
    for (const headers of [{ "content-length": "5" }, { "transfer-encoding": "chunked" }]) {
      const response = await routes.request("/v1/status", { method: "POST", headers });
      expect([response.status, response.headers.get("connection")]).toEqual([413, "close"]);
      expect(await codeOf(response)).toBe("control.body-refused");
    }
  });

  it("answer with the code of what went wrong inside", async () => {
    const broken = (error: Error) =>
      buildRoutes({
        ...aControlSource,
        getStatus: () => {
          throw error;
        },
      });
    const ours = await broken(new AgentError("agent.no-world", "cannot report: no world yet")).request(
      "/v1/status",
    );
    expect([ours.status, await codeOf(ours)]).toEqual([500, "agent.no-world"]);
    expect(await codeOf(await broken(new TypeError("x")).request("/v1/status"))).toBe("bug");
  });
});
