/**
 * Names of sysfs attributes that rules may ask about (semantics.md 3).
 *
 * Refused is what changes the device, hands out its registers, or may block or cost much when it is read.
 */

const NAME = /^[a-z0-9_]+(?:\/[a-z0-9_]+)?$/;
const FORBIDDEN = /^(?:uevent|driver_override|config|rom|vpd|resource.*|remove|reset.*|rescan)$/;
const LONGEST_NAME = 64;

/** Why rules may not ask about this attribute, as what follows its name in a sentence; `undefined` if they may. */
export function attributeRefusal(name: string): string | undefined {
  if (name.length > LONGEST_NAME || !NAME.test(name)) {
    return "is no name of a sysfs attribute: lower-case letters, digits and _, at most one / between";
  }
  return name.split("/").some((part) => FORBIDDEN.test(part))
    ? "is not read for rules: reading it may change the device, block, or give away its registers"
    : undefined;
}
