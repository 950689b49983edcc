/** `pciplug explain`: why a device is where it is, why a VM has what it has, why a rule takes what it takes. */
import { Argument, Command, Option } from "commander";
import { printable } from "../base/printable.js";
import { getExplanation } from "../control/client.js";
import { EXIT } from "../core/exit-code.js";
import { exitCodeOfExplanation, explain, type Question } from "../core/explain.js";
import type { Explanation } from "../core/explanation.js";
import { renderExplanation } from "./explanation-text.js";
import { type CliIo, renderJson } from "./io.js";
import { type AskingOptions, askAgent, loadWorld, UNASKED, withAskingOptions } from "./offline-world.js";

interface ExplainOptions extends AskingOptions {
  readonly vm?: string;
  readonly rule?: string;
  readonly json?: boolean;
}

export function explainCommand(io: CliIo): Command {
  return withAskingOptions(new Command("explain"))
    .description(
      "say why: for a device every rule key by key, for a VM what it gets, for a rule what it misses",
    )
    .addArgument(new Argument("[address]", "a device, such as 0000:65:00.0 or 65:00.0"))
    .addOption(new Option("--vm <name>", "a VM instead").conflicts("rule"))
    .addOption(new Option("--rule <name>", "a rule instead").conflicts("vm"))
    .option("--json", "print the whole answer as JSON")
    .action(async (address: string | undefined, options: ExplainOptions) => {
      const question = questionOf(address, options);
      if (question === null) {
        io.err("pciplug: say one of ADDRESS, --vm NAME or --rule NAME (see: pciplug explain --help)");
        io.exit(EXIT.usage);
        return;
      }
      const asked = await askAgent(options, (socket) => getExplanation(socket, question));
      if (asked === null) {
        await compute(io, options, question);
      } else {
        tell(io, options, asked as Explanation);
      }
    });
}

async function compute(io: CliIo, options: ExplainOptions, question: Question): Promise<void> {
  const world = await loadWorld(io, options, [UNASKED]);
  if (world === null) {
    io.exit(EXIT.badFile);
    return;
  }
  const answer = explain(world, question, "offline");
  if (answer.ok) {
    tell(io, options, answer.value);
  } else {
    io.err(`pciplug: ${printable(answer.error.message)}`);
    io.exit(answer.error.kind === "absent" ? EXIT.noMatch : EXIT.usage);
  }
}

function tell(io: CliIo, options: ExplainOptions, answer: Explanation): void {
  for (const line of options.json === true ? [renderJson(answer)] : renderExplanation(answer)) {
    io.out(line);
  }
  io.exit(exitCodeOfExplanation(answer));
}

function questionOf(address: string | undefined, { vm, rule }: ExplainOptions): Question | null {
  const asked: readonly (Question | null)[] = [
    address === undefined ? null : { about: "device", address },
    vm === undefined ? null : { about: "vm", name: vm },
    rule === undefined ? null : { about: "rule", name: rule },
  ];
  const [first, ...others] = asked.flatMap((question) => question ?? []);
  return first !== undefined && others.length === 0 ? first : null;
}
