/**
 * Files, folders and links below one folder that plays `/`, changed synchronously so that every change of the
 * simulated kernel is whole before anybody can look.
 *
 * Paths are those of the simulated machine (`/sys/...`). Links are relative, as the kernel's are.
 */
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";

export class Tree {
  readonly dir: string;
  /** Who plays root: the user who runs the simulation, so that owners read back as they are. */
  readonly superuser: { readonly uid: number; readonly gid: number };
  #buried = 0;

  constructor(dir: string) {
    this.dir = dir;
    this.write("/etc/hostname", "simulated\n");
    const { uid, gid } = statSync(this.real("/etc/hostname"));
    this.superuser = { uid, gid };
  }

  /** Where a path of the simulated machine really is. */
  real(path: string): string {
    return join(this.dir, path);
  }

  /** The path in the simulated machine, whichever of the two is given. */
  logical(path: string): string {
    return path.startsWith(`${this.dir}/`) ? path.slice(this.dir.length) : path;
  }

  has(path: string): boolean {
    return existsSync(this.real(path));
  }

  read(path: string): string {
    return readFileSync(this.real(path), "utf8");
  }

  folder(path: string): void {
    mkdirSync(this.real(path), { recursive: true });
  }

  write(path: string, text: string): void {
    this.folder(dirname(path));
    writeFileSync(this.real(path), text);
  }

  writeBytes(path: string, bytes: Uint8Array): void {
    this.folder(dirname(path));
    writeFileSync(this.real(path), bytes);
  }

  /** The bytes of a file, each as the character of its number: how the real seam hands them on. */
  readBytes(path: string): string {
    return readFileSync(this.real(path), "latin1");
  }

  /** Writes beside and renames, so that a watcher never meets half a file. */
  replace(path: string, text: string): void {
    const draft = `${dirname(path)}/.#${path.slice(path.lastIndexOf("/") + 1)}`;
    this.write(draft, text);
    renameSync(this.real(draft), this.real(path));
  }

  /** Links `path` to `target`, both paths of the simulated machine. */
  link(path: string, target: string): void {
    this.rawLink(path, relative(dirname(path), target));
  }

  /** Links `path` to a text that need not be a path, such as `socket:[12]`. */
  rawLink(path: string, text: string): void {
    this.folder(dirname(path));
    rmSync(this.real(path), { force: true });
    symlinkSync(text, this.real(path));
  }

  remove(path: string): void {
    rmSync(this.real(path), { force: true, recursive: true });
  }

  /** Takes a folder out of sight but keeps its inode: the number must not come back with the next card. */
  bury(path: string): void {
    if (lstatSync(this.real(path), { throwIfNoEntry: false }) === undefined) {
      return;
    }
    this.#buried += 1;
    this.folder("/.gone");
    renameSync(this.real(path), this.real(`/.gone/${this.#buried}`));
  }

  /** Best effort: only root can give files away, and the simulation remembers owners by itself. */
  chown(path: string, uid: number, gid: number): void {
    try {
      chownSync(this.real(path), uid, gid);
    } catch {
      // An unprivileged test run keeps its own files.
    }
  }

  chmod(path: string, mode: number): void {
    chmodSync(this.real(path), mode);
  }
}
