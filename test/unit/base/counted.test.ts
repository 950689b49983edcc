import { expect, it } from "vitest";
import { counted } from "../../../src/base/counted.js";

it("things are counted in words, one of them in the singular", () => {
  expect([0, 1, 2].map((many) => counted(many, "device"))).toEqual(["0 devices", "1 device", "2 devices"]);
});
