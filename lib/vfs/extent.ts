/** A piece of a file on its way to stable storage: where it belongs, its bytes, and on whose behalf. */
import type { UserCredential } from './caller.js';

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

  /** What is left of it when the bytes from `offset` to `end` no longer count: itself, a part, two parts, nothing. */
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
    return part;
  }

  /** Lets go of room that was never filled. */
  trim(): void {
    if (this.length * 2 <= this.data.length) this.data = Buffer.from(this.data.subarray(0, this.length));
  }
}
