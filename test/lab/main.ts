/**
 * `npm run lab`: prepares what the machines need, tells the stories, and ends with one line that counts them.
 * Exit code 0 when all passed, 1 when one failed or the lab could not be made, 64 for a bad command line.
 */
import { catalogue } from "./catalogue.js";
import { progress } from "./command.js";
import { installTools } from "./debian.js";
import { provideGuest } from "./guest.js";
import { guestInit } from "./guest-init.js";
import { provideInitrd } from "./initrd.js";
import { provideKernel } from "./kernel.js";
import { type Options, parseOptions, usage } from "./options.js";
import { cacheFolder } from "./paths.js";
import { provideQemu } from "./qemu-build.js";
import { Runner, type Tally } from "./runner.js";
import type { Story } from "./story.js";
import { provideVmlinux } from "./vmlinux.js";

async function main(args: readonly string[]): Promise<number> {
  const options = readCommandLine(args);
  if (typeof options === "string") {
    process.stderr.write(`lab: ${options}\n`);
    return 64;
  }
  if (options.isHelp) process.stdout.write(usage);
  else if (options.isList) process.stdout.write(list(catalogue));
  if (options.isHelp || options.isList) return 0;
  const stories = chosen(options);
  if (typeof stories === "string") {
    process.stderr.write(`lab: ${stories}\n`);
    return 64;
  }
  return await tell(stories, options);
}

function readCommandLine(args: readonly string[]): Options | string {
  try {
    return parseOptions(args);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function list(stories: readonly Story[]): string {
  return stories.map((story) => `${story.number}  ${story.name.padEnd(18)} ${story.sentence}\n`).join("");
}

function chosen(options: Options): readonly Story[] | string {
  if (options.stories.length === 0) return catalogue;
  const named = (wanted: string) =>
    catalogue.filter((story) => story.name === wanted || `${story.number}` === wanted);
  const unknown = options.stories.find((wanted) => named(wanted).length === 0);
  if (unknown !== undefined) return `no story "${unknown}"; --list shows them`;
  return options.stories.flatMap(named);
}

async function tell(stories: readonly Story[], options: Options): Promise<number> {
  const startedMs = performance.now();
  const say = (line: string) => process.stdout.write(`${line}\n`);
  let tally: Tally;
  try {
    const runner = await prepare(options, say);
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.on(signal, () => {
        if (!runner.isKept) void runner.end().finally(() => process.exit(130));
      });
    }
    tally = await runner.tell(stories);
  } catch (error) {
    // A lab that cannot be made has told no story: each of them counts as failed.
    say(`lab: cannot make the lab: ${error instanceof Error ? error.message : String(error)}`);
    tally = { passed: 0, failed: stories.length, repeats: 0 };
  }
  say(
    `\nlab: took ${Math.round((performance.now() - startedMs) / 1000)} s, outer QEMU aborted ${tally.repeats} times`,
  );
  say(`lab: ${tally.passed} passed, ${tally.failed} failed`);
  return tally.failed === 0 ? 0 : 1;
}

async function prepare(options: Options, say: (line: string) => void): Promise<Runner> {
  installTools();
  const cache = cacheFolder(process.env);
  const packaged = provideKernel(options.kernel, cache);
  const kernel = { ...packaged, image: provideVmlinux(packaged) };
  const qemu = provideQemu(options.qemu, cache);
  const initrd = provideInitrd({ name: "guest", kernel, modules: ["e1000e"], init: guestInit() }, cache);
  progress(`Linux ${kernel.release}, QEMU ${qemu.version}`);
  const guest = await provideGuest({ kernel: kernel.image, initrd }, "acpi", qemu, cache);
  return new Runner({ machine: { kernel, qemu, cache }, guest, isKeep: options.isKeep, say });
}

process.exitCode = await main(process.argv.slice(2));
