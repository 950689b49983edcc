/**
 * A shell in the L1 machine for a person: bash on L1's second serial port, joined to this terminal. Without a terminal
 * it only says how to reach that shell from another one, and waits for an interrupt.
 */
import { connect } from "node:net";
import type { Machine } from "./machine.js";

/** Ctrl-], as in telnet. */
const endKey = "\u001d";

/** Stays until the person ends it (Ctrl-] or Ctrl-C without a terminal). */
export async function attachShell(machine: Machine): Promise<void> {
  const { columns = 80, rows = 24 } = process.stdout;
  await machine.channel.ask("exec", {
    command: `stty -F /dev/ttyS1 sane cols ${columns} rows ${rows}
      export TERM='${process.env["TERM"] ?? "dumb"}' PS1='l1:\\w# '
      setsid sh -c 'while :; do setsid -c -w bash --norc; done < /dev/ttyS1 > /dev/ttyS1 2>&1' > /dev/null 2>&1 &`,
    deadlineMs: 30_000,
  });
  const { stdin, stdout } = process;
  stdout.write(`lab: the machine stays up; its console and QMP traffic are in ${machine.folder}\n`);
  if (!stdin.isTTY) {
    stdout.write(
      `lab: no terminal here; reach its shell with: socat -,raw,echo=0,escape=0x1d ${machine.shellSocket}\n`,
    );
    stdout.write("lab: interrupt this command to end the machine\n");
    await new Promise<void>((resolve) => {
      const heartbeat = setInterval(() => undefined, 60_000);
      process.once("SIGINT", () => resolve(clearInterval(heartbeat)));
      process.once("SIGTERM", () => resolve(clearInterval(heartbeat)));
    });
    return;
  }
  stdout.write("lab: this is a root shell in the L1 machine; Ctrl-] ends it and the machine\n");
  const socket = connect(machine.shellSocket);
  stdin.setRawMode(true);
  socket.write("\n");
  socket.pipe(stdout, { end: false });
  await new Promise<void>((resolve) => {
    socket.on("close", () => resolve());
    socket.on("error", () => resolve());
    stdin.on("data", (bytes: Buffer) => {
      if (bytes.toString().includes(endKey)) resolve();
      else socket.write(bytes);
    });
  });
  stdin.setRawMode(false);
  stdin.pause();
  socket.destroy();
  stdout.write("\n");
}
