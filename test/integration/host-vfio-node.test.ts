/** The owner of an IOMMU group's node. */
import { describe, expect, it, onTestFinished } from "vitest";
import { release } from "../../src/host/release.js";
import { readAppearance } from "../../src/host/sysfs-link.js";
import { giveNode, hasNode, nodeOwner } from "../../src/host/vfio-node.js";
import { aDevice, aLease } from "../support/builders.js";
import { FakeKernel } from "../support/kernel.js";
import { aFolder, aSysfs } from "../support/sysfs.js";

const CARD = "0000:01:00.0";
const us = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
/** Only root may give a file away; for anybody else the refusal is what there is to see. */
const mayGive = us.uid === 0;

function kernel(): FakeKernel {
  const sysfs = aSysfs(aFolder(onTestFinished)).device({ address: CARD, driver: "vfio-pci" });
  return new FakeKernel(sysfs.file("dev/vfio/1", ""));
}

describe("the node of an IOMMU group", () => {
  it("is given to a user, who had it before being told", async () => {
    const host = kernel();
    const deed = await giveNode(host.context(), 1, 64055, 64055);
    const expected = mayGive
      ? { deed: { kind: "done", previous: us }, owner: { uid: 64055, gid: 64055 } }
      : { deed: { kind: "failed", code: "host.write-refused" }, owner: us };
    expect({ deed, owner: nodeOwner(host.sysfs.root, 1) }).toMatchObject(expected);
    expect(host.announced).toEqual([{ path: host.sysfs.root.vfioNode(1), text: "owner 64055:64055" }]);
  });

  it("is not touched when the user has it already", async () => {
    const host = kernel();
    expect(await giveNode(host.context(), 1, us.uid, us.gid)).toEqual({ kind: "done", previous: us });
    expect(host.announced).toEqual([]);
  });

  it("must be there, and be no link", async () => {
    const host = kernel();
    host.sysfs.link("dev/vfio/2", "etc/passwd");
    expect(await giveNode(host.context(), 2, 1, 1)).toMatchObject({ code: "host.no-vfio-node" });
    expect(await giveNode(host.context(), 3, 1, 1)).toMatchObject({ code: "host.no-vfio-node" });
    expect(() => nodeOwner(host.sysfs.root, 3)).toThrow(/there is no such node/);
  });

  it("goes back to its owner when the device is released and the node stays", async () => {
    const host = kernel();
    await giveNode(host.context(), 1, 64055, 64055);
    const appearance = readAppearance(host.sysfs.root, host.sysfs.address(CARD)) ?? "";
    const lease = aLease(aDevice(CARD, { appearance }), "vm-a", {
      original: { driver: "vfio-pci", override: null },
      nodeOwner: us,
    });
    expect(await release(host.context(), lease)).toEqual({ kind: "done" });
    expect(nodeOwner(host.sysfs.root, 1)).toEqual(us);
    expect(hasNode(host.sysfs.root, 1)).toBe(true);
  });
});
