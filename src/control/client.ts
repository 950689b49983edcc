/**
 * The control socket from the other side: one question, one checked answer.
 *
 * Promises: an answer within the deadline or an error that says what to do; never a shape that was not checked.
 */
import { type IncomingMessage, request } from "node:http";
import type { z } from "zod";
import { messageOf } from "../base/error.js";
import type { Question } from "../core/explain.js";
import { ControlError, type ControlErrorCode, errnoOf, isSocketPath } from "./error.js";
import { NO_ANSWER_CODES, pathOfQuestion } from "./explain-route.js";
import { type ExplainResponse, explainResponse } from "./explain-schema.js";
import {
  errorResponse,
  type PlanResponse,
  planResponse,
  type ReloadRequest,
  type ReloadResponse,
  reloadResponse,
  type StatusResponse,
  statusResponse,
} from "./schema.js";

const DEADLINE_MS = 5_000;
/** A status of 4,096 devices is about one megabyte. */
const LARGEST_ANSWER_BYTES = 32 * 1024 * 1024;

/** How long to wait, in milliseconds; 5 s by default. */
export interface AskOptions {
  readonly timeoutMs?: number;
}

/** Asks the agent for its state. @throws {ControlError} */
export function getStatus(socketPath: string, options: AskOptions = {}): Promise<StatusResponse> {
  return ask(socketPath, "/v1/status", statusResponse, options);
}

/** Asks the agent what it would do now. @throws {ControlError} */
export function getPlan(socketPath: string, options: AskOptions = {}): Promise<PlanResponse> {
  return ask(socketPath, "/v1/plan", planResponse, options);
}

/** Asks the agent to explain a device, a VM or a rule. @throws {ControlError} also control.absent, control.unknown */
export function getExplanation(
  socketPath: string,
  question: Question,
  options: AskOptions = {},
): Promise<ExplainResponse> {
  return ask(socketPath, pathOfQuestion(question), explainResponse, options);
}

/** Has the agent read its file again; `isConfirmed`: what it takes from VMs is meant. @throws {ControlError} */
export function askReload(
  socketPath: string,
  isConfirmed: boolean,
  options: AskOptions = {},
): Promise<ReloadResponse> {
  const body: ReloadRequest = isConfirmed ? { confirm: true } : {};
  return ask(socketPath, "/v1/reload", reloadResponse, options, JSON.stringify(body));
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

async function ask<T>(
  socketPath: string,
  verb: string,
  schema: z.ZodType<T>,
  { timeoutMs = DEADLINE_MS }: AskOptions,
  body?: string,
): Promise<T> {
  if (!isSocketPath(socketPath)) {
    throw failed("control.no-agent", socketPath, "the path is too long for a socket's address");
  }
  const deadline = AbortSignal.timeout(timeoutMs);
  let answer: Answer;
  try {
    answer = await exchange(socketPath, verb, deadline, body);
  } catch (error) {
    if (error instanceof ControlError) {
      throw error;
    }
    throw deadline.aborted
      ? failed("control.timeout", socketPath, `no answer within ${timeoutMs} ms`, error)
      : failed(codeOf(error), socketPath, reasonOf(error), error);
  }
  return read(answer, schema, socketPath);
}

/** A question with a body is one that changes something: POST. */
function exchange(
  socketPath: string,
  path: string,
  signal: AbortSignal,
  body: string | undefined,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const method = body === undefined ? "GET" : "POST";
    const headers = {
      host: "pciplug",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    };
    const outgoing = request({ socketPath, method, path, signal, agent: false, headers });
    outgoing.once("error", reject);
    outgoing.once("response", (response) => {
      collect(response, socketPath).then(resolve, (error: unknown) => {
        reject(error);
        outgoing.destroy();
      });
    });
    outgoing.end(body);
  });
}

async function collect(response: IncomingMessage, socketPath: string): Promise<Answer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > LARGEST_ANSWER_BYTES) {
      throw failed(
        "control.bad-answer",
        socketPath,
        `the answer is larger than ${LARGEST_ANSWER_BYTES} bytes`,
      );
    }
    chunks.push(chunk);
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
}

function read<T>({ status, text }: Answer, schema: z.ZodType<T>, socketPath: string): T {
  const value = parseJson(text);
  if (status !== 200) {
    const said = errorResponse.safeParse(value);
    const code = Object.values(NO_ANSWER_CODES).find((entry) => entry === said.data?.error.code);
    if (code !== undefined) {
      throw new ControlError(code, said.data?.error.message ?? "", { context: { socketPath } });
    }
    const why = said.success
      ? `${said.data.error.message} (${said.data.error.code})`
      : `HTTP status ${status}`;
    throw failed("control.bad-answer", socketPath, why);
  }
  const checked = schema.safeParse(value);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const where = issue === undefined || issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
    const why = `unexpected answer (is it a pciplug of another version?): ${where}${issue?.message ?? ""}`;
    throw failed("control.bad-answer", socketPath, why, checked.error);
  }
  return checked.data;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const CODES: Readonly<Record<string, ControlErrorCode>> = {
  ENOENT: "control.no-agent",
  ENOTDIR: "control.no-agent",
  ECONNREFUSED: "control.no-agent",
  ECONNRESET: "control.no-agent",
  EPIPE: "control.no-agent",
  EACCES: "control.not-permitted",
  EPERM: "control.not-permitted",
  // The queue of the socket is full: it does not answer, whoever it is.
  EAGAIN: "control.timeout",
};

function codeOf(error: unknown): ControlErrorCode {
  return CODES[errnoOf(error)] ?? "control.bad-answer";
}

function reasonOf(error: unknown): string {
  switch (codeOf(error)) {
    case "control.no-agent":
      return errnoOf(error) === "ECONNRESET" ? "it went away in mid-answer" : "none is running";
    case "control.not-permitted":
      return "only root may ask it";
    default:
      return messageOf(error);
  }
}

function failed(code: ControlErrorCode, socketPath: string, why: string, cause?: unknown): ControlError {
  return new ControlError(code, `cannot ask the agent at ${socketPath}: ${why}`, {
    cause,
    context: { socketPath },
  });
}
