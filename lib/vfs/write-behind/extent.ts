/** A piece of a file on its way to stable storage: where it belongs, its bytes, and on whose behalf. */
import type { UserCredential } from '../caller/caller.js';
import type { Room } from './write-record.js';

export class Extent {
  readonly offset: number;
  readonly credential: UserCredential;
  /** Orders what was written: a flush covers what was numbered before it began. */
  readonly sequence: number;
  /** May be longer than what is in it, while it is being filled. */
  data: Buffer;
  length: number;
  /** Of the WRITE that carried it; undefined until it was answered. */
  verifier: string | undefined = undefined;
  /** How often a server's restart made it necessary to write it again. */
  rewrites = 0;
  /** False for a part: its bytes lie in a buffer that it shares with others. */
  whole = true;
  /** Where the bytes of a gathering extent lie; undefined: in memory of its own. */
  room: Room | undefined = undefined;

  constructor(offset: number, credential: UserCredential, data: Buffer, length: number, sequence: number) {
    this.offset = offset;
    this.credential = credential;
    this.data = data;
    this.length = length;
    this.sequence = sequence;
  }

  get end(): number {
    return this.offset + this.length;
  }

  overlaps(offset: number, end: number): boolean {
    return this.offset < end && offset < this.end;
  }

  /** The rest of it when the bytes from `offset` to `end` no longer count: itself, a part, two parts, nothing. */
  without(offset: number, end: number): readonly Extent[] {
    if (!this.overlaps(offset, end)) return [this];
    const left: Extent[] = [];
    if (this.offset < offset) left.push(this.#part(this.offset, offset));
    if (end < this.end) left.push(this.#part(end, this.end));
    return left;
  }

  #part(from: number, to: number): Extent {
    const data = this.data.subarray(from - this.offset, to - this.offset);
    const part = new Extent(from, this.credential, data, to - from, this.sequence);
    part.verifier = this.verifier;
    part.rewrites = this.rewrites;
    part.whole = false;
    return part;
  }
}

/**
 * The data that was read at `offset`, at most `size` bytes, with `extents` laid over it in their order. The file is at least
 * `fileEnd` long, whatever the server makes of it now: what neither it nor an extent has is a hole.
 */
export function overlay(
  read: readonly Uint8Array[],
  offset: number,
  size: number,
  extents: readonly Extent[],
  fileEnd: number,
): readonly Uint8Array[] {
  const came = read.reduce((sum, { length }) => sum + length, 0);
  const length = Math.max(came, Math.min(size, fileEnd - offset));
  if (extents.length === 0 && length === came) return read;
  const whole = Buffer.alloc(length);
  let at = 0;
  for (const piece of read) {
    whole.set(piece, at);
    at += piece.length;
  }
  for (const extent of extents) {
    const from = Math.max(extent.offset, offset);
    const to = Math.min(extent.end, offset + length);
    whole.set(extent.data.subarray(from - extent.offset, to - extent.offset), from - offset);
  }
  return [whole];
}
