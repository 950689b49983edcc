/** `GET /v1/explain?address=ADDRESS`, `?vm=NAME` or `?rule=NAME`: exactly one of the three. */
import type { Context } from "hono";
import type { Result } from "../base/result.js";
import type { NoAnswer, Question } from "../core/explain.js";
import type { ExplainResponse } from "./explain-schema.js";
import type { ErrorResponse } from "./schema.js";

/** Where the verb has its answers from. */
export interface ExplainSource {
  readonly getExplanation: (question: Question) => Result<ExplainResponse, NoAnswer>;
}

export const EXPLAIN_PATH = "/v1/explain";

/** The codes of an answer that is none: the client passes them on as they are. */
export const NO_ANSWER_CODES = { absent: "control.absent", unknown: "control.unknown" } as const;

/** Answers one request. */
export function answerExplain(context: Context, source: ExplainSource): Response {
  const question = questionOf(context.req.query());
  if (question === null) {
    const message = `cannot ${EXPLAIN_PATH}: say one of address, vm or rule`;
    return context.json(refusal("control.bad-request", message), 400);
  }
  const answer = source.getExplanation(question);
  return answer.ok
    ? context.json(answer.value)
    : context.json(refusal(NO_ANSWER_CODES[answer.error.kind], answer.error.message), 404);
}

/** The path and query that ask a question. */
export function pathOfQuestion(question: Question): string {
  const query =
    question.about === "device" ? { address: question.address } : { [question.about]: question.name };
  return `${EXPLAIN_PATH}?${new URLSearchParams(query).toString()}`;
}

function questionOf({ address, vm, rule }: Readonly<Record<string, string>>): Question | null {
  const asked: readonly (Question | null)[] = [
    address === undefined ? null : { about: "device", address },
    vm === undefined ? null : { about: "vm", name: vm },
    rule === undefined ? null : { about: "rule", name: rule },
  ];
  const [first, ...others] = asked.flatMap((question) => question ?? []);
  return first !== undefined && others.length === 0 ? first : null;
}

function refusal(code: string, message: string): ErrorResponse {
  return { error: { code, message } };
}
