/** `pciplug completion`: a completion script for bash, made from the commands themselves. */
import { Command } from "commander";
import { EXIT } from "../core/exit-code.js";
import type { CliIo } from "./io.js";

export function completionCommand(io: CliIo, program: Command): Command {
  return new Command("completion")
    .description("print a completion script for bash: source <(pciplug completion)")
    .action(() => {
      io.out(renderCompletion(program));
      io.exit(EXIT.ok);
    });
}

/** The script: command names first, then the options of the command that was named. Files complete as usual. */
export function renderCompletion(program: Command): string {
  const names = program.commands.map((command) => command.name());
  const cases = program.commands.map((command) => {
    const flags = command.options.flatMap((option) => [option.long ?? "", option.short ?? ""]);
    return `    ${command.name()}) words="${[...flags, "--help"].filter((flag) => flag !== "").join(" ")}" ;;`;
  });
  return [
    "_pciplug() {",
    '  local words="" command current',
    `  command=\${COMP_WORDS[1]} current=\${COMP_WORDS[COMP_CWORD]}`,
    '  case "$command" in',
    ...cases,
    "  esac",
    `  [ "$COMP_CWORD" -eq 1 ] && words="${names.join(" ")} --help --version"`,
    '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
    "}",
    "complete -o default -F _pciplug pciplug",
  ].join("\n");
}
