import { describe, expect, it } from "vitest";
import { type FolderFacts, unsafeReason } from "../../../src/host/state-folder.js";

const ours: FolderFacts = { path: "/var/lib/pciplug", uid: 0, mode: 0o40700 };
const lib: FolderFacts = { path: "/var/lib", uid: 0, mode: 0o40755 };

describe("a state folder", () => {
  it("is safe when it is ours and all above it is root's", () => {
    expect(unsafeReason(ours, [lib], 0)).toBeNull();
    expect(unsafeReason({ ...ours, uid: 1000 }, [{ ...lib, uid: 1000 }, lib], 1000)).toBeNull();
  });

  it.each([
    ["belongs to somebody else", { ...ours, uid: 1000 }, [lib], /belongs to user 1000/],
    [
      "may be written by its group",
      { ...ours, mode: 0o40770 },
      [lib],
      /others may write to it \(mode 0770\)/,
    ],
    [
      "is below a folder that anyone may write",
      ours,
      [{ ...lib, mode: 0o40777 }],
      /may be written by anyone/,
    ],
    ["is below a sticky /tmp", ours, [{ path: "/tmp", uid: 0, mode: 0o41777 }], /\/tmp above it/],
    ["is below somebody else's folder", ours, [{ ...lib, uid: 1000 }], /belongs to user 1000/],
  ])("is refused when it %s", (_, folder, above, reason) => {
    expect(unsafeReason(folder, above, 0)).toMatch(reason);
  });
});
