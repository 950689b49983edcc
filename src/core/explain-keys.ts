/** A rule's selector held against one device, key by key, as it is told. */
import type { Device } from "./device.js";
import { evaluateSelector, type Selector } from "./selector.js";
import type { Verdict } from "./verdict.js";

/** What one key of a selector says about a device. */
export interface KeyReport {
  /** As the operator would point at it: `vendor`, `not[0].class`. */
  readonly key: string;
  readonly verdict: Verdict;
  /** The values as they are written in the file. */
  readonly wanted: readonly string[];
  /** What the device has; `null`: none; absent: not known. */
  readonly actual?: string | null;
  /** What is not known, for a person. */
  readonly why?: string;
  /** Of `not` and `any`: the keys inside. */
  readonly keys?: readonly KeyReport[];
}

/** What evaluating a selector gives, with or without what only nested keys have. */
interface KeyAnswer {
  readonly key: string;
  readonly verdict: Verdict;
  readonly wanted: readonly string[];
  readonly actual: string | null | undefined;
  readonly why?: string;
  readonly keys?: readonly KeyAnswer[];
}

/** Every key of the selector, in the order in which they are written. */
export function reportKeys(selector: Selector, device: Device): readonly KeyReport[] {
  return evaluateSelector(selector, device).keys.map(reportKey);
}

function reportKey({ key, verdict, wanted, actual, why, keys }: KeyAnswer): KeyReport {
  return {
    key,
    verdict,
    wanted,
    ...(actual === undefined ? {} : { actual }),
    ...(why === undefined ? {} : { why }),
    ...(keys === undefined ? {} : { keys: keys.map(reportKey) }),
  };
}

/** The only key that keeps the device from matching; `null` where there are none, several, or no other key to hold. */
export function onlyFailure(selector: Selector, device: Device): KeyReport | null {
  const keys = evaluateSelector(selector, device).keys;
  const [failing, ...others] = keys.filter(({ verdict }) => verdict !== "match");
  return failing === undefined || others.length > 0 || keys.length < 2 || failing.verdict !== "no-match"
    ? null
    : reportKey(failing);
}
