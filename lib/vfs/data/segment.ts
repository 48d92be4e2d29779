/** A READ of a file's data that is there before it is asked for, and the data of one read put together from such pieces. */
import type { Fattr3 } from '../../programs/nfs3/index.js';

export interface Fetched {
  readonly pieces: readonly Uint8Array[];
  readonly length: number;
  /** The file ended here. */
  readonly eof: boolean;
  /** The content may have changed again without a new ctime. */
  readonly racy: boolean;
  /** Of the last reply, if it had any. */
  readonly attributes: Fattr3 | undefined;
}

/** Told once: what a READ that was sent along with an open served a read with, or undefined if it did not. */
export type Ended = (served: Fetched | undefined) => void;

export interface Segment {
  readonly offset: number;
  readonly length: number;
  readonly result: Promise<Fetched>;
  /** Undefined: it was sent when a reader had begun. */
  readonly ended: Ended | undefined;
  used: boolean;
  /** The list of segments while it is there, and everybody who waits for the data or has been given parts of it. */
  holders: number;
}

/** The bytes from `from` to `to` of pieces laid end to end, appended to `out`. */
export function slice(pieces: readonly Uint8Array[], from: number, to: number, out: Uint8Array[]): void {
  let at = 0;
  for (const piece of pieces) {
    const start = Math.max(0, from - at);
    const end = Math.min(piece.length, to - at);
    if (start < end) out.push(start === 0 && end === piece.length ? piece : piece.subarray(start, end));
    at += piece.length;
    if (at >= to) return;
  }
}

/** The data of one read, piece by piece. */
export interface Collected {
  readonly pieces: Uint8Array[];
  /** Segments that some of the pieces are parts of. */
  readonly held: Segment[];
  /** Those of the pieces that came with READs for this read alone. */
  readonly fetched: Uint8Array[];
}
