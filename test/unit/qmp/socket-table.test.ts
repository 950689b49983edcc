/** Tables as Linux 6.1 showed them around a QEMU 7.2 (contrib/doc/facts.md 17), cut to the rows that matter. */
import { describe, expect, it } from "vitest";
import { silenceOf } from "../../../src/qmp/socket-table.js";

const PATH = "/run/vm a/qmp.sock";
const HEAD = "Num       RefCount Protocol Flags    Type St Inode Path";
const LISTENING = `0000000000000000: 00000002 00000000 00010000 0001 01 518976 ${PATH}`;
const ACCEPTED = `0000000000000000: 00000003 00000000 00000000 0001 03 519855 ${PATH}`;
const WAITING = `0000000000000000: 00000002 00000000 00000000 0001 02     0 ${PATH}`;
const OTHERS = [
  "0000000000000000: 00000003 00000000 00000000 0001 03 51234",
  `0000000000000000: 00000002 00000000 00000000 0001 02     0 ${PATH}.other`,
  "0000000000000000: 00000002 00000000 00010000 0001 01 51777 @abstract",
];

function table(...rows: string[]): string {
  return [HEAD, ...OTHERS, ...rows, ""].join("\n");
}

describe("the kernel's table of unix sockets", () => {
  it.each([
    ["busy when one was let in and another waits", [LISTENING, ACCEPTED, WAITING], "busy"],
    ["busy whatever the order of the rows", [WAITING, WAITING, ACCEPTED, LISTENING], "busy"],
    ["not accepting when all wait", [LISTENING, WAITING], "not-accepting"],
    ["accepting when nobody waits", [LISTENING, ACCEPTED], "accepted"],
    ["unknown when only others are listed", [], "unknown"],
    ["unknown when nobody is connected", [LISTENING], "unknown"],
    ["unknown when the listener is out of sight", [ACCEPTED, WAITING], "unknown"],
    [
      "unknown when an older listener had the same path",
      [LISTENING, LISTENING, ACCEPTED, WAITING],
      "unknown",
    ],
  ])("shows a monitor as %s", (_what, rows, silence) => {
    expect(silenceOf(table(...rows), PATH)).toBe(silence);
  });

  it("is understood when it is empty or something else", () => {
    expect(silenceOf("", PATH)).toBe("unknown");
    expect(silenceOf("hello\n\0\n", PATH)).toBe("unknown");
  });
});
