/** open(2) with O_CREAT, and mknod(2) of a regular file: the file is made and opened in one request of the kernel. */
import { Errno, FuseError } from '../../fuse/contract/errno.js';
import type { OpenReply, SetAttributes } from '../../fuse/contract/operations.js';
import type { FileName } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { Found } from '../names/lookup.js';
import type { CompletesLater, MakeRequests } from '../names/make.js';
import { opensForWriting } from '../open-flags.js';
import { writerOf } from '../write-behind/write-behind.js';
import type { Files } from './files.js';

const O_EXCL = 0o200;
const O_TRUNC = 0o1000;

/** O_TRUNC. */
const EMPTY: SetAttributes = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: 0n,
  atime: undefined,
  mtime: undefined,
  fh: undefined,
};

export class Creation {
  readonly #make: MakeRequests;
  readonly #files: Files;

  constructor(make: MakeRequests, files: Files) {
    this.#make = make;
    this.#files = files;
  }

  /**
   * Makes the file, or finds it where another client was faster, and opens it.
   * @throws FuseError ESTALE where the name has got another meaning: the kernel looks it up and opens what it finds.
   */
  async open(
    directory: Inode,
    name: FileName,
    { mode, flags }: { readonly mode: number; readonly flags: number },
    caller: Caller,
  ): Promise<{ readonly found: Found; readonly open: OpenReply }> {
    const exclusive = (flags & O_EXCL) !== 0;
    // The server would open an existing file as the user for whom it takes the caller, unchecked. It must be certain that
    // the file is new; the kernel looks the name up otherwise, and opens the file that it finds.
    const certain = exclusive || caller.claim !== undefined;
    const { changes } = this.#files;
    const completesLater: CompletesLater = ({ inode, attributes }, wanted) => {
      if (!exclusive || !opensForWriting(flags) || !inode.isRegular) return false;
      this.#files.writerOf(inode);
      return changes.completesLater(inode, attributes, wanted, caller);
    };
    const made = await this.#make
      .create(directory, name, mode & 0o7777, certain, caller, completesLater)
      .catch((error: unknown) => {
        const exists = error instanceof FuseError && error.errno === Errno.EEXIST;
        throw exists && !exclusive && certain ? new FuseError(Errno.ESTALE, 'made meanwhile') : error;
      });
    const { inode } = made;
    // Linux's own server answers so for a directory or a link that another client has put there.
    if (!inode.isRegular) throw new FuseError(Errno.ESTALE, 'something else than a file has the name');
    // Another client was faster: the file is there, with something in it.
    // A server that has lost what was written is empty, and would be given it once more. Attributes that wait are no data.
    const holdsData = made.attributes.size > 0n || (writerOf(inode)?.unwrittenBytes ?? 0) > 0;
    const truncate = (flags & O_TRUNC) !== 0;
    const attributes =
      truncate && holdsData ? await this.#files.setAttributes(inode, EMPTY, caller) : made.attributes;
    const open = this.#files.created(inode, flags, caller);
    if (exclusive) changes.made(inode, made.attributes, caller);
    return { found: { ...made, attributes }, open };
  }
}
