/**
 * The verbs of the control socket: three that only tell, and one that reads the operator's file again.
 * Every answer is JSON; whatever is not 200 is an {@link ErrorResponse}.
 */
import { type Context, Hono } from "hono";
import { AgentError, messageOf } from "../base/error.js";
import { answerExplain, EXPLAIN_PATH, type ExplainSource } from "./explain-route.js";
import {
  type ErrorResponse,
  type PlanResponse,
  type ReloadRequest,
  type ReloadResponse,
  reloadRequest,
  type StatusResponse,
} from "./schema.js";

/** Where the answers come from: the agent's newest world. */
export interface ControlSource extends ExplainSource {
  readonly getStatus: () => StatusResponse;
  readonly getPlan: () => PlanResponse;
  /** Reads the operator's file again. */
  readonly reload: (request: ReloadRequest) => Promise<ReloadResponse>;
}

const TELLING = { "/v1/status": "getStatus", "/v1/plan": "getPlan" } as const;
const RELOAD = "/v1/reload";
/** A request for a reload is a dozen bytes. */
const LARGEST_BODY_BYTES = 1_024;

/** The verbs as a Hono application: Request in, Response out, no socket yet. */
export function buildRoutes(source: ControlSource): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    const complaint = bodyComplaint(context.req);
    if (complaint === null) {
      await next();
      return undefined;
    }
    // The rest of the request is not wanted: what is not read must not be taken for the next one.
    context.header("connection", "close");
    return context.json(failure("control.body-refused", `cannot read request: ${complaint}`), 413);
  });
  for (const [path, verb] of Object.entries(TELLING)) {
    app.get(path, (context) => context.json(source[verb]()));
    app.all(path, (context) => wrongMethod(context, "GET, HEAD"));
  }
  app.get(EXPLAIN_PATH, (context) => answerExplain(context, source));
  app.all(EXPLAIN_PATH, (context) => wrongMethod(context, "GET, HEAD"));
  app.post(RELOAD, async (context) => {
    const request = readRequest(await context.req.text());
    return request === null
      ? context.json(
          failure("control.bad-request", `cannot read request: expected {"confirm"?: boolean}`),
          400,
        )
      : context.json(await source.reload(request));
  });
  app.all(RELOAD, (context) => wrongMethod(context, "POST"));
  app.notFound((context) => {
    const known = [...Object.keys(TELLING), EXPLAIN_PATH, RELOAD].join(", ");
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

function wrongMethod(context: Context, allow: string): Response {
  const { method, path } = context.req;
  const message = `cannot ${method} ${path}: only ${allow}`;
  return context.json(failure("control.method-not-allowed", message), 405, { allow });
}

/** What speaks against the body of a request, before any of it is read. */
function bodyComplaint({ method, path, raw }: Context["req"]): string | null {
  const length = raw.headers.get("content-length") ?? "0";
  const isOpenEnded = raw.headers.has("transfer-encoding");
  if (length === "0" && !isOpenEnded) {
    return null;
  }
  if (method !== "POST" || path !== RELOAD) {
    return "this verb takes no body";
  }
  const isBounded = /^\d{1,4}$/.test(length) && Number(length) <= LARGEST_BODY_BYTES;
  return isBounded && !isOpenEnded
    ? null
    : `expected a body of known length, at most ${LARGEST_BODY_BYTES} bytes`;
}

function readRequest(text: string): ReloadRequest | null {
  if (text === "") {
    return {};
  }
  try {
    const checked = reloadRequest.safeParse(JSON.parse(text));
    return checked.success ? checked.data : null;
  } catch {
    return null;
  }
}
