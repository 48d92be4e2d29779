/**
 * One part of a directory after the other, by READDIRPLUS or by READDIR where that is better or all that works. Owns
 * the sizes asked for, and what an error of either call means.
 */
import { FuseError } from '../../fuse/contract/errno.js';
import {
  type DirectoryEntryPlus,
  isDots,
  READDIR,
  READDIRPLUS,
  type ReaddirplusResult,
  Status,
} from '../../programs/nfs3/index.js';
import {
  RpcGarbageArgumentsError,
  RpcGarbageError,
  RpcProcedureUnavailableError,
  RpcSystemError,
} from '../../rpc/rpc-errors.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { TransferLimits } from '../config.js';
import type { VfsCounters } from '../counters.js';
import type { KernelReplies } from '../kernel/kernel-replies.js';
import type { Binding } from '../names/name-binding.js';
import type { Exchange } from '../remote/exchange.js';
import { ofDirectory } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { Redriver } from '../remote/redrive.js';
import type { PlusSupport } from './plus-support.js';

/** The parts of the mount that this needs. */
export interface PartsNeeds {
  readonly binding: Binding;
  readonly counters: VfsCounters;
  readonly exchange: Exchange;
  readonly limits: TransferLimits;
  readonly nfs: NfsClient;
  readonly plus: PlusSupport;
  readonly redriver: Redriver;
  readonly replies: KernelReplies;
}

/** Where in a directory: behind the entry that had this cookie. */
export interface Position {
  readonly cookie: bigint;
  readonly verifier: Buffer;
}

export interface Part {
  readonly entries: readonly DirectoryEntryPlus[];
  readonly verifier: Buffer;
  readonly eof: boolean;
  /** Entries came with their attributes, of this time (Clock.now). */
  readonly plusAt: number | undefined;
}

/** The first answer is small, so that a small directory costs little; later ones are as large as the server likes. */
const FIRST_COUNT = 64 * 1024;
const LEAST_COUNT = 4 * 1024;
/** The largest count that is asked for where a server calls a smaller one too small. */
const MOST_COUNT = 1024 * 1024;

/**
 * Errors that READDIR would get as well: those of the directory and of the caller. Any other error means that the
 * server cannot give attributes: those of one broken object, or of a file system that has none.
 */
const OF_DIRECTORY: ReadonlySet<Status> = new Set([
  Status.PERM,
  Status.NOENT,
  Status.ACCES,
  Status.NOTDIR,
  Status.STALE,
  Status.BADHANDLE,
]);

/** Linux goes on with READDIR for NFS3ERR_NOTSUPP alone, and fails for all others; a listing without types is better. */
function isRefusal(error: unknown): boolean {
  const cause = error instanceof FuseError ? error.cause : undefined;
  return (
    cause instanceof RpcGarbageError ||
    cause instanceof RpcGarbageArgumentsError ||
    cause instanceof RpcSystemError ||
    cause instanceof RpcProcedureUnavailableError
  );
}

function isUnknownProcedure(error: unknown): boolean {
  return error instanceof FuseError && error.cause instanceof RpcProcedureUnavailableError;
}

export class ListingParts {
  readonly #vfs: PartsNeeds;
  readonly #inode: Inode;
  #count: number;

  constructor(vfs: PartsNeeds, inode: Inode) {
    this.#vfs = vfs;
    this.#inode = inode;
    this.#count = Math.min(FIRST_COUNT, vfs.limits.dtsize);
  }

  /**
   * The part that follows a position. Undefined: the server does not know the position any more (NFS3ERR_BAD_COOKIE).
   * Throws the error that the application is to see.
   */
  async read(position: Position, plus: boolean, caller: Caller): Promise<Part | undefined> {
    const vfs = this.#vfs;
    for (;;) {
      // Names alone say no types either, and a reader who then asks for each costs more than READDIRPLUS did:
      // only a huge directory that nobody stats is worth it.
      const withAttributes = plus && vfs.plus.isOfUse(this.#inode);
      let result: ReaddirplusResult & { readonly plusAt: number | undefined };
      try {
        result = await (withAttributes ? this.#plus(position, caller) : this.#plain(position, caller));
      } catch (error) {
        if (!withAttributes || !isRefusal(error)) throw error;
        this.#doWithoutPlus(isUnknownProcedure(error));
        continue;
      }
      const { status } = result;
      if (status === Status.OK) {
        this.#count = Math.max(this.#count, vfs.limits.dtsize);
        const { entries, cookieVerifier, eof, plusAt } = result;
        return { entries, verifier: cookieVerifier, eof, plusAt };
      }
      if (status === Status.BAD_COOKIE || status === Status.NOT_SYNC) return undefined;
      if (status === Status.TOOSMALL && this.#count < MOST_COUNT) {
        this.#count = Math.min(MOST_COUNT, Math.max(this.#count * 4, vfs.limits.dtsize));
        continue;
      }
      if (!withAttributes || OF_DIRECTORY.has(status))
        throw vfs.redriver.reportFailure(result, [this.#inode], caller, 'listing');
      this.#doWithoutPlus(status === Status.NOTSUPP);
    }
  }

  /** `everywhere`: the server does not have READDIRPLUS at all. */
  #doWithoutPlus(everywhere: boolean): void {
    this.#vfs.counters.plusFallbacks++;
    if (everywhere) this.#vfs.plus.isMissing();
    else this.#vfs.plus.failedFor(this.#inode);
  }

  async #plus({ cookie, verifier: cookieVerifier }: Position, caller: Caller) {
    const vfs = this.#vfs;
    const inode = this.#inode;
    const { generation, contentChanges } = inode;
    const count = Math.max(LEAST_COUNT, this.#count);
    const limits = { dircount: count, maxcount: count };
    const { result, start } = await vfs.exchange.ask(
      inode,
      caller,
      (directory) => vfs.nfs.call(READDIRPLUS, { directory, cookie, cookieVerifier, ...limits }, caller),
      ofDirectory,
    );
    if (result.status === Status.OK) {
      for (const entry of result.entries) {
        // A change of ours may have given a name another meaning since.
        if (inode.contentChanges !== contentChanges) break;
        if (isDots(entry.name) || entry.handle === undefined || entry.attributes === undefined) continue;
        // Another file system is mounted there on the server: what READDIRPLUS shows is the covered directory.
        if (
          entry.attributes.fsid !== vfs.replies.rootFsid &&
          entry.attributes.fsid !== inode.attributes?.fsid
        )
          continue;
        const { name, handle, attributes } = entry;
        vfs.binding.bind({ parent: inode, name, handle, attributes, start, generation });
      }
    }
    return { ...result, plusAt: start.at };
  }

  async #plain({ cookie, verifier: cookieVerifier }: Position, caller: Caller) {
    const vfs = this.#vfs;
    const count = Math.max(LEAST_COUNT, this.#count);
    const { result } = await vfs.exchange.ask(
      this.#inode,
      caller,
      (directory) => vfs.nfs.call(READDIR, { directory, cookie, cookieVerifier, count }, caller),
      ofDirectory,
    );
    const plusAt = undefined;
    if (result.status !== Status.OK) return { ...result, plusAt };
    const entries = result.entries.map((entry) => ({ ...entry, attributes: undefined, handle: undefined }));
    return { ...result, entries, plusAt };
  }
}
