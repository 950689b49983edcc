/** The mounts of a process as /proc/PID/mountinfo lists them (proc_pid_mountinfo(5)). Pure. */

/** One mount. */
export interface Mount {
  readonly id: string;
  /** `major:minor` of the block device; `0:n` for a file system without one. */
  readonly number: string;
  /** The folder of the file system that is seen there; `/`: the whole of it. */
  readonly root: string;
  readonly place: string;
  readonly type: string;
  readonly source: string;
  /** Of the file system itself, as written. */
  readonly options: string;
}

/** Every mount, in the order of the file: a later one hides an earlier one at the same place. */
export function parseMounts(text: string): readonly Mount[] {
  return text.split("\n").flatMap((line) => {
    const [left = "", right] = line.split(" - ");
    if (right === undefined) {
      return [];
    }
    const [id = "", , number = "", root = "", place = ""] = left.split(" ");
    const [type = "", source = "", options = ""] = right.split(" ");
    return [
      {
        id,
        number,
        root: unescaped(root),
        place: unescaped(place),
        type,
        source: unescaped(source),
        options,
      },
    ];
  });
}

/** The mount on which an absolute path lies: the last one listed of those with the longest place. */
export function mountOf(mounts: readonly Mount[], path: string): Mount | undefined {
  let best: Mount | undefined;
  for (const mount of mounts) {
    const isAbove = mount.place === "/" || path === mount.place || path.startsWith(`${mount.place}/`);
    if (isAbove && mount.place.length >= (best?.place.length ?? 0)) {
      best = mount;
    }
  }
  return best;
}

/** Folders that a file system such as overlay shows as one (kernel: Documentation/filesystems/overlayfs). */
export function layersOf(mount: Mount): readonly string[] {
  const written = mount.options.matchAll(/(?:^|,)(?:lowerdir\+?|upperdir|datadir\+)=([^,]*)/g);
  // Colons part the layers; one that belongs to a name has a backslash before it.
  return [...written].flatMap(([, value = ""]) =>
    unescaped(value)
      .split(/(?<!\\):+/)
      .map((layer) => layer.replaceAll("\\:", ":")),
  );
}

/** Paths of the partitions that the kernel swaps to, from /proc/swaps. Files lie on mounts. */
export function parseSwapPartitions(text: string): readonly string[] {
  return text
    .split("\n")
    .slice(1)
    .flatMap((line) => {
      const [path = "", kind] = line.split(/\s+/);
      return kind === "partition" ? [unescaped(path)] : [];
    });
}

/** Blanks and the like are written as octal escapes. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
