/**
 * Takes the uncompressed kernel out of a bzImage (Linux boot protocol, setup header 2.08 and later). QEMU starts it
 * by its PVH entry, which spares an emulated CPU the unpacking: seconds in L1, tens of seconds in L2.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { run } from "./command.js";
import type { Kernel } from "./kernel.js";

/** Gives the path of the uncompressed kernel, or of the bzImage itself where its packing is not known. */
export function provideVmlinux(kernel: Kernel): string {
  const path = `${kernel.image}.elf`;
  if (existsSync(path)) return path;
  const packed = payload(readFileSync(kernel.image));
  const elf = packed === undefined ? undefined : unpack(packed);
  if (elf === undefined || elf.readUInt32BE(0) !== 0x7f454c46) return kernel.image;
  writeFileSync(`${path}.part`, elf);
  renameSync(`${path}.part`, path);
  return path;
}

/** The compressed kernel inside a bzImage, without the four bytes of its length that end it. */
function payload(image: Buffer): Buffer | undefined {
  const isBzImage = image.toString("latin1", 0x202, 0x206) === "HdrS" && image.readUInt16LE(0x206) >= 0x0208;
  if (!isBzImage) return undefined;
  const start = (image.readUInt8(0x1f1) + 1) * 512 + image.readUInt32LE(0x248);
  return image.subarray(start, start + image.readUInt32LE(0x24c) - 4);
}

function unpack(packed: Buffer): Buffer | undefined {
  switch (packed.readUInt32BE(0)) {
    case 0xfd377a58:
      return run("xz", ["-dc", "--single-stream"], { input: packed });
    case 0x28b52ffd:
      return run("zstd", ["-dc"], { input: packed });
    default:
      return packed.readUInt16BE(0) === 0x1f8b ? gunzipSync(packed) : undefined;
  }
}
