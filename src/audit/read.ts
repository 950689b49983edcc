/**
 * The audit read back, line by line, in constant memory. Never stops at a damaged line: it says that it is one.
 */
import { createReadStream } from "node:fs";
import { messageOf } from "../base/error.js";
import { AuditError } from "./error.js";
import { type AuditRecord, parseRecord } from "./record.js";

/** One line of the file. */
export type AuditLine =
  | { readonly kind: "record"; readonly number: number; readonly record: AuditRecord; readonly text: string }
  /** No whole record: torn by a crash, of another version, or changed by someone. */
  | { readonly kind: "damaged"; readonly number: number; readonly text: string };

/** A line is cut here when it is no audit line at all. */
const LONGEST_LINE = 1024 * 1024;

/**
 * Reads the file from its beginning to the end that it has when reading gets there. `number` counts lines from 1.
 *
 * @throws {AuditError} audit.read-failed
 */
export async function* readAudit(path: string): AsyncGenerator<AuditLine, void, undefined> {
  let rest = "";
  let number = 0;
  try {
    for await (const chunk of createReadStream(path, { encoding: "utf8" })) {
      const lines = `${rest}${chunk}`.split("\n");
      rest = lines.pop() ?? "";
      for (const text of lines) {
        number += 1;
        yield lineOf(text, number);
      }
      if (rest.length > LONGEST_LINE) {
        number += 1;
        yield { kind: "damaged", number, text: rest };
        rest = "";
      }
    }
  } catch (error) {
    const message = `cannot read audit file ${path}: ${messageOf(error)}`;
    throw new AuditError("audit.read-failed", message, { cause: error });
  }
  if (rest !== "") {
    yield lineOf(rest, number + 1);
  }
}

function lineOf(text: string, number: number): AuditLine {
  const record = parseRecord(text);
  return record === null ? { kind: "damaged", number, text } : { kind: "record", number, record, text };
}
