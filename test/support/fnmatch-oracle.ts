/**
 * A second reading of fnmatch(3) and of brace lists, written to be obviously right and not to be quick:
 * plain recursion on the pattern's text, lists multiplied out. Understands well-formed patterns only.
 */

export function oracleMatches(pattern: string, text: string): boolean {
  if (pattern === "") {
    return text === "";
  }
  const rest = pattern.slice(1);
  if (pattern[0] === "*") {
    return oracleMatches(rest, text) || (text !== "" && oracleMatches(pattern, text.slice(1)));
  }
  if (text === "") {
    return false;
  }
  if (pattern[0] === "?") {
    return oracleMatches(rest, text.slice(1));
  }
  if (pattern[0] === "\\") {
    return rest[0] === text[0] && oracleMatches(rest.slice(1), text.slice(1));
  }
  if (pattern[0] === "[") {
    const end = pattern.indexOf("]", pattern[1] === "!" ? 3 : 2);
    const isNegated = pattern[1] === "!";
    const members = membersOf(pattern.slice(isNegated ? 2 : 1, end));
    return (
      members.includes(text[0] ?? "") !== isNegated && oracleMatches(pattern.slice(end + 1), text.slice(1))
    );
  }
  return pattern[0] === text[0] && oracleMatches(rest, text.slice(1));
}

/** All patterns a pattern with unnested lists stands for. */
export function oracleExpand(pattern: string): string[] {
  const list = /\{([^{}]*,[^{}]*)\}/.exec(pattern);
  if (list === null) {
    return [pattern];
  }
  const [before, after] = [pattern.slice(0, list.index), pattern.slice(list.index + list[0].length)];
  return (list[1] ?? "").split(",").flatMap((part) => oracleExpand(before + part + after));
}

function membersOf(body: string): string {
  return body.replaceAll(/(.)-(.)/g, (_, from: string, to: string) => {
    const [low, high] = [from.charCodeAt(0), to.charCodeAt(0)];
    return Array.from({ length: Math.max(high - low + 1, 0) }, (_n, n) => String.fromCharCode(low + n)).join(
      "",
    );
  });
}
