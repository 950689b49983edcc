/** Whether the process behind a socket is the one that the file expects. */
import { describe, expect, it } from "vitest";
import { listenerObjection } from "../../../src/core/listener.js";
import { aProcess } from "../../support/builders.js";

const expected = { user: "microvm", executable: "qemu-system-*" };
const qemu = aProcess({ pid: 7, uid: 994, executable: "/nix/store/abc-qemu/bin/qemu-system-x86_64" });

describe("the process that listens on a socket", () => {
  it("is spoken to when user and program are the expected ones", () => {
    expect(listenerObjection(expected, qemu, 994)).toBeNull();
    const whole = { ...expected, executable: "/nix/store/*/bin/qemu-system-x86_64" };
    expect(listenerObjection(whole, qemu, 994)).toBeNull();
  });

  it.each([
    ["runs as another user", expected, { ...qemu, uid: 1000 }],
    ["runs another program", expected, { ...qemu, executable: "/usr/bin/socat" }],
    [
      "has a program of that name in another place",
      { ...expected, executable: "/usr/bin/qemu-system-*" },
      qemu,
    ],
    ["runs a program that cannot be read", expected, { ...qemu, executable: null }],
    ["has the name only as a folder", expected, { ...qemu, executable: "/tmp/qemu-system-x86_64/sh" }],
  ])("is not when it %s", (_, wanted, process) => {
    expect(listenerObjection(wanted, process, 994)).toMatch(
      /^nothing is said to it: process 7 of user \d+, .+; expected user microvm and /,
    );
  });

  it("is not when it was not found, or its user is none of this host", () => {
    expect(listenerObjection(expected, null, 994)).toContain("was not found");
    expect(listenerObjection(expected, qemu, null)).toContain("no user microvm");
  });
});
