/** The lab's command line. */
import { parseArgs } from "node:util";

export const usage = `usage: npm run lab [-- OPTIONS]

Boots a machine with an emulated IOMMU and tells the stories in it: real kernel, real vfio-pci, real QEMU.
Needs Debian and, when a package is missing, root. The first run downloads a kernel into the cache
($XDG_CACHE_HOME/pciplug-lab, else ~/.cache/pciplug-lab).

  --list               list the stories and end
  --story NAME         tell only this story (name or number; may be repeated)
  --keep               afterwards, or after a failure, stay up with a shell in the machine
  --qemu SUITE|VERSION    QEMU of another Debian suite (bookworm-backports, sid) or version, instead of the installed one
  --kernel SUITE|VERSION  likewise the Linux kernel; a version such as 6.1 is looked up in this machine's own sources
  --help               this text
`;

export interface Options {
  readonly isList: boolean;
  readonly isHelp: boolean;
  readonly isKeep: boolean;
  readonly stories: readonly string[];
  readonly qemu: string | undefined;
  readonly kernel: string | undefined;
}

/** @throws TypeError with one clear sentence for an option that does not exist. */
export function parseOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
      keep: { type: "boolean", default: false },
      story: { type: "string", multiple: true, default: [] },
      qemu: { type: "string" },
      kernel: { type: "string" },
    },
  });
  return {
    isList: values.list,
    isHelp: values.help,
    isKeep: values.keep,
    stories: values.story,
    qemu: values.qemu,
    kernel: values.kernel,
  };
}
