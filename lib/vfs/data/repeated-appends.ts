/**
 * Appends that come again, because the process that had taken them died before it answered. Owns the question whether the data
 * is in the file already: to append it again would write it twice, and to write it where it was to go might destroy what
 * another client has appended meanwhile.
 */
import { type FileHandle, READ, type ReadResult, Status } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';
import { type KernelRequest, unattended } from '../caller/caller.js';
import { type Exchange, ofObject } from '../remote/exchange.js';
import type { NfsClient } from '../remote/nfs-client.js';
import type { LastAppend } from '../write-behind/write-record.js';
import type { OpenFile } from './open-file.js';

export interface RepeatedAppendsNeeds {
  readonly exchange: Exchange;
  readonly nfs: NfsClient;
}

export class RepeatedAppends {
  readonly #vfs: RepeatedAppendsNeeds;
  readonly #before = new Map<Inode, LastAppend>();

  constructor(vfs: RepeatedAppendsNeeds) {
    this.#vfs = vfs;
  }

  /** An earlier process of this mount has sent this append, or was about to. */
  takeUp(inode: Inode, append: LastAppend): void {
    this.#before.set(inode, append);
  }

  /**
   * Where `data` lies in the file already, as a whole or with its beginning: it is written there again. Undefined: it does
   * not, as far as can be told. `size`: the file's, in bytes.
   */
  async placeOf(
    { inode, credential }: OpenFile,
    data: Uint8Array,
    size: bigint,
    request: KernelRequest | undefined,
  ): Promise<number | undefined> {
    const before = this.#before.get(inode);
    if (before === undefined || request?.resent !== true || before.unique !== request.unique)
      return undefined;
    this.#before.delete(inode);
    const there = Math.min(Number(size) - before.offset, data.length);
    if (there <= 0) return undefined;
    for (let at = 0; at < there; ) {
      const part = await this.#read(inode, before.offset + at, there - at, credential).catch(() => undefined);
      if (part === undefined || part.length === 0) return undefined;
      if (Buffer.compare(part, data.subarray(at, at + part.length)) !== 0) return undefined;
      at += part.length;
    }
    return before.offset;
  }

  async #read(
    inode: Inode,
    offset: number,
    count: number,
    credential: OpenFile['credential'],
  ): Promise<Uint8Array | undefined> {
    const caller = unattended(credential);
    const call = (file: FileHandle): Promise<ReadResult> =>
      this.#vfs.nfs.call(READ, { file, offset, count }, caller);
    const { result } = await this.#vfs.exchange.ask(inode, caller, call, ofObject);
    return result.status === Status.OK ? result.data.subarray(0, count) : undefined;
  }
}
