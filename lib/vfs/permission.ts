/** Asks the server what a caller may do, and remembers the answer while the object's permissions stay. */
import { Errno, FuseError } from '../fuse/errno.js';
import { ACCESS, Access, type Fattr3, Status } from '../nfs3/index.js';
import { knownAccess, rememberAccess } from './access-cache.js';
import { type Caller, concerning } from './caller.js';
import type { Inode } from './inode.js';
import { opensForExecution, opensForReading, opensForWriting } from './open-file.js';
import { type Operand, possibleOperand } from './redrive.js';
import type { VfsState } from './vfs-state.js';

const R_OK = 4;
const W_OK = 2;
const X_OK = 1;
/** Calls about one object whose group is another in each answer. */
const MAX_ASKED = 3;

/** All that the kind of object knows, so that one call answers every later question (Linux nfs3_proc_access). */
function allBits(inode: Inode): number {
  const common = Access.READ | Access.MODIFY | Access.EXTEND;
  return common | (inode.isDirectory ? Access.LOOKUP | Access.DELETE : Access.EXECUTE);
}

/** Of what the server grants, what the caller gets: all of it, unless the server takes the caller for another. */
function entitled(inode: Inode, { claim }: Caller, granted: number): number {
  if (claim === undefined) return granted;
  return inode.attributes === undefined ? 0 : granted & claim.access(inode.attributes);
}

export class Permission {
  readonly #vfs: VfsState;

  constructor(vfs: VfsState) {
    this.#vfs = vfs;
  }

  /**
   * One call to the server that brings both the attributes and, if they are not known, the caller's rights:
   * GETATTR where the rights are known, else ACCESS. Answers the ACCESS bits granted.
   */
  async revalidate(inode: Inode, caller: Caller): Promise<number> {
    const wanted = allBits(inode);
    if (knownAccess(inode, caller.credential, wanted) !== undefined) {
      await this.#vfs.fetchAttributes(inode, caller);
      // If the attributes moved, the rights are void and asked for after all.
      const granted = knownAccess(inode, caller.credential, wanted);
      if (granted !== undefined) {
        this.#vfs.counters.access.hits++;
        return entitled(inode, caller, granted);
      }
    }
    return entitled(inode, caller, (await this.#ask(inode, wanted, caller)).granted);
  }

  /** The ACCESS bits granted, from the cache while the attributes are trusted. */
  async granted(inode: Inode, caller: Caller, operand: Operand = 'path'): Promise<number> {
    const wanted = allBits(inode);
    if (this.#vfs.attributes.isFresh(inode)) {
      const granted = knownAccess(inode, caller.credential, wanted);
      if (granted !== undefined) {
        this.#vfs.counters.access.hits++;
        return entitled(inode, caller, granted);
      }
    }
    return entitled(inode, caller, (await this.#ask(inode, wanted, caller, operand)).granted);
  }

  async #ask(
    inode: Inode,
    wanted: number,
    caller: Caller,
    operand: Operand = 'path',
    asked = 1,
  ): Promise<{ granted: number; attributes: Fattr3 | undefined }> {
    const { attributes, redriver, nfs, counters } = this.#vfs;
    counters.access.misses++;
    let start = attributes.start();
    let { accessGeneration } = inode;
    const result = await redriver.run(inode, caller, (object) => {
      start = attributes.start();
      accessGeneration = inode.accessGeneration;
      return nfs.call(ACCESS, { object, access: wanted }, caller);
    });
    if (result.status !== Status.OK) throw redriver.failure(result, [inode], caller, operand);
    // The answer may be from before a change that was seen meanwhile; one that it shows itself is no reason.
    const timely = inode.accessGeneration === accessGeneration;
    attributes.observe(inode, result.attributes, start);
    if (timely) ({ accessGeneration } = inode);
    if (result.attributes === undefined) await this.#vfs.fetchAttributes(inode, caller, operand);
    rememberAccess(inode, caller.credential, wanted, result.access, accessGeneration);
    // The object turns out to be of another group than was known, and the server was not told that the caller is in it.
    const member = concerning(caller, inode.attributes?.gid);
    if (member !== caller && asked < MAX_ASKED) return this.#ask(inode, wanted, member, operand, asked + 1);
    return { granted: result.access, attributes: result.attributes };
  }

  /** Throws EACCES unless `granted` suffices for open(2) with these flags. */
  checkOpen(granted: number, flags: number): void {
    const executes = opensForExecution(flags);
    if (executes && (granted & Access.EXECUTE) === 0) throw new FuseError(Errno.EACCES);
    // A program that may be executed but not read is read by the kernel alone.
    if (!executes && opensForReading(flags) && (granted & Access.READ) === 0)
      throw new FuseError(Errno.EACCES);
    if (opensForWriting(flags) && (granted & (Access.MODIFY | Access.EXTEND)) === 0) {
      throw new FuseError(Errno.EACCES);
    }
  }

  /** access(2), chdir(2) and fchdir(2). Throws EACCES. */
  async check(inode: Inode, mask: number, caller: Caller): Promise<void> {
    const operand = possibleOperand(inode);
    if ((mask & (R_OK | W_OK | X_OK)) === 0) {
      await this.#vfs.freshAttributes(inode, caller, operand);
      return;
    }
    const granted = await this.granted(inode, caller, operand);
    const search = inode.isDirectory ? Access.LOOKUP : Access.EXECUTE;
    if ((mask & R_OK) !== 0 && (granted & Access.READ) === 0) throw new FuseError(Errno.EACCES);
    if ((mask & W_OK) !== 0 && (granted & (Access.MODIFY | Access.EXTEND)) === 0) {
      throw new FuseError(Errno.EACCES);
    }
    if ((mask & X_OK) !== 0 && (granted & search) === 0) throw new FuseError(Errno.EACCES);
  }
}
