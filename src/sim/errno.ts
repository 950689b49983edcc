/** The kernel's ways to refuse a write, spelt as errno(3) and strerror(3) have them. */

const STRERROR = {
  EACCES: "Permission denied",
  EBUSY: "Device or resource busy",
  EEXIST: "File exists",
  EINVAL: "Invalid argument",
  ENODEV: "No such device",
  ENOENT: "No such file or directory",
} as const;

export type Errno = keyof typeof STRERROR;

/** What strerror(3) says. */
export function strerror(errno: Errno): string {
  return STRERROR[errno];
}

/** What came of a write to sysfs: accepted, refused, or the writer has to wait until a VM lets go of a device. */
export type KernelAnswer =
  | { readonly kind: "done" }
  | { readonly kind: "refused"; readonly errno: Errno }
  | { readonly kind: "waits"; readonly released: Promise<void> };

export const DONE: KernelAnswer = { kind: "done" };

export function refused(errno: Errno): KernelAnswer {
  return { kind: "refused", errno };
}
