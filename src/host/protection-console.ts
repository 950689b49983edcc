/**
 * How the operator reaches the machine itself, and what vouches for it: the console's screen, keyboards and serial line,
 * the BMC, the TPM. Kernel ABI: sysfs-tty (`console/active`), sysfs-class-input, sysfs-class-tpm.
 */
import { join } from "node:path";
import type { Area } from "../core/protection.js";
import { readTextIfAny } from "./device-facts.js";
import type { ProtectionNotes } from "./protection-notes.js";
import type { HostRoot } from "./root.js";
import { behindLink, functionsOn, namesIn } from "./sysfs-tree.js";

/** input-event-codes.h: EV_KEY and EV_REP. Only what repeats its keys is a keyboard; a power button does not. */
const KEYBOARD = (1 << 1) | (1 << 20);
/** input.h: BUS_BLUETOOTH. Such a keyboard hangs below no device; its radio is the way to it. */
const BLUETOOTH = "0005";

/** Notes what the console and its like stand on. Says whether the kernel's console is on a screen. */
export function gatherConsole(root: HostRoot, notes: ProtectionNotes): boolean {
  const active = readTextIfAny(root.activeConsole());
  // Where the file cannot be read the screen counts as one of them.
  const isOnScreen = active === undefined || /\btty\d/.test(active);
  notes.attempt("console", "consoles", () => {
    for (const name of (active ?? "").split(/\s+/).filter((word) => /^(?!tty\d)\S/.test(word))) {
      serialLine(root, notes, name);
    }
    if (isOnScreen) {
      screen(root, notes);
      keyboards(root, notes);
    }
    all(root, notes, "ipmi", /^ipmi\d+$/, "the way to the BMC", []);
  });
  notes.attempt("tpm", "TPM", () => all(root, notes, "tpm", /^tpm\d+$/, "the TPM", ["tpm"]));
  return isOnScreen;
}

function serialLine(root: HostRoot, notes: ProtectionNotes, name: string): void {
  device(root, notes, "tty", name, "the kernel's console", []);
  if (name.startsWith("hvc")) {
    const folder = root.virtioDriver("virtio_console");
    for (const port of namesIn(folder).filter((entry) => /^virtio\d+$/.test(entry))) {
      note(notes, port, behindLink(join(folder, port)), "the kernel's console", []);
    }
  }
}

/** The kernel's console begins on the first frame buffer; where there is none, the boot VGA shows it. */
function screen(root: HostRoot, notes: ProtectionNotes): void {
  const numbers = namesIn(root.deviceClass("graphics")).flatMap((name) => /^fb(\d+)$/.exec(name)?.[1] ?? []);
  if (numbers.length > 0) {
    device(root, notes, "graphics", `fb${Math.min(...numbers.map(Number))}`, "the active console", []);
  }
}

function keyboards(root: HostRoot, notes: ProtectionNotes): void {
  for (const name of namesIn(root.deviceClass("input")).filter((entry) => /^input\d+$/.test(entry))) {
    const input = root.deviceClass("input", name);
    const events = Number.parseInt(readTextIfAny(join(input, "capabilities", "ev")) ?? "0", 16);
    if ((events & KEYBOARD) !== KEYBOARD) {
      continue;
    }
    device(root, notes, "input", name, "the console keyboard", []);
    if (readTextIfAny(join(input, "id", "bustype")) === BLUETOOTH) {
      all(root, notes, "bluetooth", /^hci\d+$/, "the console keyboard", []);
    }
  }
}

/** Every device of a class. */
function all(
  root: HostRoot,
  notes: ProtectionNotes,
  kind: string,
  named: RegExp,
  what: string,
  otherwise: readonly Area[],
): void {
  for (const name of namesIn(root.deviceClass(kind)).filter((entry) => named.test(entry))) {
    device(root, notes, kind, name, what, otherwise);
  }
}

function device(
  root: HostRoot,
  notes: ProtectionNotes,
  kind: string,
  name: string,
  what: string,
  otherwise: readonly Area[],
): void {
  note(notes, name, behindLink(root.deviceClass(kind, name)), what, otherwise);
}

function note(
  notes: ProtectionNotes,
  name: string,
  folder: string | undefined,
  what: string,
  otherwise: readonly Area[],
): void {
  const id = notes.carrier(`device/${name}`, () => ({
    label: name,
    on: [],
    functions: functionsOn(folder ?? ""),
    otherwise,
  }));
  notes.use(id, what);
}
