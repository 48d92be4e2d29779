/**
 * Records of attributes that a program has set and that the server has not been asked for yet, and of times, where the server may have
 * lost the data before them: the next process sets them after it has written that data again.
 */
import type { NfsTime, Sattr3 } from '../../programs/nfs3/index.js';
import type { KeptRecord, RecordRef } from '../../records/index.js';
import type { Credentials, UserCredential } from '../caller/caller.js';
import { KeptRecords, RecordKind, RecordReader } from './record-text.js';

/** Attributes as they were recorded. */
export interface AttributesFound {
  readonly ref: RecordRef;
  readonly stamp: number;
  readonly nodeid: number;
  readonly set: Sattr3;
  readonly credential: UserCredential;
}

/** Says what of a record counts. */
const Bit = { MODE: 1, UID: 2, GID: 4, ATIME: 8, MTIME: 16, ATIME_SERVER: 32, MTIME_SERVER: 64 } as const;

export class KeptAttributes extends KeptRecords {
  readonly #refs = new Map<number, RecordRef>();

  /** An earlier process has recorded them. */
  takeUp({ nodeid, ref }: AttributesFound): void {
    this.#refs.set(nodeid, ref);
  }

  /** False: there is no room for it, and all stays as it is. */
  set(nodeid: number, set: Sattr3, credential: UserCredential): boolean {
    const text = this.text.begin().number(nodeid).u32(bitsOf(set));
    text
      .u32(set.mode ?? 0)
      .u32(set.uid ?? 0)
      .u32(set.gid ?? 0);
    for (const time of [set.atime, set.mtime]) {
      const { seconds, nanoseconds } = typeof time === 'object' ? time : NEVER;
      text.u32(seconds).u32(nanoseconds);
    }
    text.credential(credential);
    const ref = this.memory.put(RecordKind.ATTRIBUTES, [], text.bytes, text.length);
    if (ref === 0) return false;
    this.drop(nodeid);
    this.#refs.set(nodeid, ref);
    return true;
  }

  drop(nodeid: number): void {
    const ref = this.#refs.get(nodeid);
    if (ref === undefined) return;
    this.#refs.delete(nodeid);
    this.memory.free(ref);
  }
}

const NEVER: NfsTime = { seconds: 0, nanoseconds: 0 };

function bitsOf({ mode, uid, gid, atime, mtime }: Sattr3): number {
  let bits = 0;
  if (mode !== undefined) bits |= Bit.MODE;
  if (uid !== undefined) bits |= Bit.UID;
  if (gid !== undefined) bits |= Bit.GID;
  if (atime !== undefined) bits |= atime === 'server' ? Bit.ATIME_SERVER : Bit.ATIME;
  if (mtime !== undefined) bits |= mtime === 'server' ? Bit.MTIME_SERVER : Bit.MTIME;
  return bits;
}

export function readAttributes(
  { ref, stamp, content }: KeptRecord,
  credentials: Credentials,
): AttributesFound {
  const reader = new RecordReader(content);
  const [nodeid, bits] = [reader.number(), reader.u32()] as const;
  const number = (bit: number): number | undefined => {
    const value = reader.u32();
    return (bits & bit) === 0 ? undefined : value;
  };
  const time = (bit: number, server: number): NfsTime | 'server' | undefined => {
    const value = { seconds: reader.u32(), nanoseconds: reader.u32() };
    if ((bits & server) !== 0) return 'server';
    return (bits & bit) === 0 ? undefined : value;
  };
  const set = {
    mode: number(Bit.MODE),
    uid: number(Bit.UID),
    gid: number(Bit.GID),
    atime: time(Bit.ATIME, Bit.ATIME_SERVER),
    mtime: time(Bit.MTIME, Bit.MTIME_SERVER),
  };
  return { ref, stamp, nodeid, set, credential: reader.credential(credentials) };
}
