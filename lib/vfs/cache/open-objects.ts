/** Files and directories that are open through this mount. Owns Inode.opens: an open inode stays in the inode table. */
import type { Inode } from './inode.js';
import type { InodeTable } from './inode-table.js';

export class OpenObjects {
  readonly #inodes: InodeTable;
  #files = 0;

  constructor(inodes: InodeTable) {
    this.#inodes = inodes;
  }

  /** Files open through this mount, one for each open(2). */
  get files(): number {
    return this.#files;
  }

  /** The object is open once more. Each needs its {@link close}. */
  open(inode: Inode): void {
    if (inode.opens++ === 0) this.#inodes.pin(inode);
  }

  /** As {@link open}, of a file that a program opens. Needs its {@link closeFile}. */
  openFile(inode: Inode): void {
    this.open(inode);
    this.#files++;
  }

  /** `last`, if given, runs once nothing has the object open any more, and before the inode may go. */
  close(inode: Inode, last?: () => Promise<void> | undefined): void {
    if (--inode.opens > 0) return;
    const ending = last?.();
    if (ending === undefined) this.#inodes.release(inode);
    else void ending.finally(() => this.#inodes.release(inode));
  }

  closeFile(inode: Inode, last?: () => Promise<void> | undefined): void {
    this.#files--;
    this.close(inode, last);
  }
}
