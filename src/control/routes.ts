/**
 * The verbs of the control socket. No verb of this version changes anything or takes a body.
 * Every answer is JSON; whatever is not 200 is an {@link ErrorResponse}.
 */
import { Hono } from "hono";
import { AgentError, messageOf } from "../base/error.js";
import { answerExplain, EXPLAIN_PATH, type ExplainSource } from "./explain-route.js";
import type { ErrorResponse, PlanResponse, StatusResponse } from "./schema.js";

/** Where the answers come from: the agent's newest world. */
export interface ControlSource extends ExplainSource {
  readonly getStatus: () => StatusResponse;
  readonly getPlan: () => PlanResponse;
}

const VERBS = { "/v1/status": "getStatus", "/v1/plan": "getPlan" } as const;
const ONLY = "GET, HEAD";

/** The verbs as a Hono application: Request in, Response out, no socket yet. */
export function buildRoutes(source: ControlSource): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    const { headers } = context.req.raw;
    const length = headers.get("content-length") ?? "0";
    if (length === "0" && !headers.has("transfer-encoding")) {
      await next();
      return undefined;
    }
    // The rest of the request is not wanted: what is not read must not be taken for the next one.
    context.header("connection", "close");
    return context.json(failure("control.body-refused", "cannot read request: this verb takes no body"), 413);
  });
  for (const [path, verb] of Object.entries(VERBS)) {
    app.get(path, (context) => context.json(source[verb]()));
    app.all(path, (context) => {
      const message = `cannot ${context.req.method} ${path}: only ${ONLY}`;
      return context.json(failure("control.method-not-allowed", message), 405, { allow: ONLY });
    });
  }
  app.get(EXPLAIN_PATH, (context) => answerExplain(context, source));
  app.all(EXPLAIN_PATH, (context) => {
    const message = `cannot ${context.req.method} ${EXPLAIN_PATH}: only ${ONLY}`;
    return context.json(failure("control.method-not-allowed", message), 405, { allow: ONLY });
  });
  app.notFound((context) => {
    const known = [...Object.keys(VERBS), EXPLAIN_PATH].join(", ");
    const message = `cannot ${context.req.method} ${context.req.path}: no such path, there are ${known}`;
    return context.json(failure("control.not-found", message), 404);
  });
  app.onError((error, context) => {
    const code = error instanceof AgentError ? error.code : "bug";
    return context.json(failure(code, messageOf(error)), 500);
  });
  return app;
}

/** An answer that is not 200. */
export function failure(code: string, message: string): ErrorResponse {
  return { error: { code, message } };
}
