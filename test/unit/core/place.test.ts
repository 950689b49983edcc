import { describe, expect, it } from "vitest";
import { placeBelow } from "../../../src/core/place.js";
import { anAddress } from "../../support/builders.js";

describe("the place below a root bus", () => {
  const port = anAddress("0000:00:1c.0");

  it("is the same after buses were renumbered", () => {
    const before = placeBelow("0000:00", [port, anAddress("0000:03:00.0")]);
    const after = placeBelow("0000:00", [port, anAddress("0000:04:00.0")]);
    expect(before).toEqual(after);
    expect(before).toEqual({ parent: port, root: port, rootBus: "0000:00", path: "0000:00/1c.0/00.0" });
  });

  it("keeps VFs apart that have the device and function of another one on the next bus", () => {
    const pf = anAddress("0000:03:00.0");
    const paths = ["0000:03:00.2", "0000:04:00.0", "0000:05:00.0"].map(
      (vf) => placeBelow("0000:00", [port, anAddress(vf)], pf).path,
    );
    expect(paths).toEqual(["0000:00/1c.0/00.2", "0000:00/1c.0/1+00.0", "0000:00/1c.0/2+00.0"]);
  });
});
