/** A number of things, in words: `1 device`, `2 devices`. The plural must be regular. */
export function counted(many: number, noun: string): string {
  return `${many} ${noun}${many === 1 ? "" : "s"}`;
}
