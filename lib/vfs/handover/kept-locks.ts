/** Records of locks: what each owner holds of each file, and what the server may hold or grant besides. */
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { KeptRecord, RecordMemory, RecordRef } from '../../records/index.js';
import type { LockJournal, LockNote } from '../locks/lock-notes.js';
import type { ClientLock, ClientOwner } from '../locks/lock-owners.js';
import type { HeldLock, LockRecords, RecordedLockFile, RecordedOwner } from '../locks/lock-records.js';
import { KeptRecords, RecordKind, RecordReader, type RecordText } from './record-text.js';

/** Ranges in one record; an owner with more has several. */
const MOST_RANGES = 48;

export class KeptLocks extends KeptRecords implements LockRecords {
  /** By file and owner. */
  readonly #refs = new Map<string, readonly RecordRef[]>();
  #edition = 0;

  /** An earlier process has recorded it. */
  takeUp({ nodeid, owner, refs, edition }: LocksFound): void {
    this.#refs.set(`${nodeid} ${owner.key}`, refs);
    this.#edition = Math.max(this.#edition, edition);
  }

  holds(file: RecordedLockFile, owner: ClientOwner, locks: readonly ClientLock[], fh: number): void {
    const key = `${file.inode.nodeid} ${owner.key}`;
    const before = this.#refs.get(key) ?? [];
    const refs: RecordRef[] = [];
    const edition = ++this.#edition;
    const parts = Math.ceil(locks.length / MOST_RANGES);
    for (let part = 0; part < parts; part++) {
      const ranges = locks.slice(part * MOST_RANGES, (part + 1) * MOST_RANGES);
      const text = this.text.begin().number(file.inode.nodeid).number(edition).u32(part).u32(parts);
      text.text(owner.key).u32(owner.svid).text(owner.ownerHandle);
      text
        .u32(owner.flock ? 1 : 0)
        .u32(owner.pid)
        .number(fh);
      text.text(file.handle).u32(ranges.length);
      for (const { start, end, exclusive } of ranges)
        text
          .u64(start)
          .u64(end)
          .u32(exclusive ? 1 : 0);
      refs.push(this.memory.put(RecordKind.LOCKS, [], text.bytes, text.length));
    }
    if (refs.length > 0) this.#refs.set(key, refs);
    else this.#refs.delete(key);
    for (const ref of before) this.memory.free(ref);
  }
}

/** All that one owner holds of one file, as it was recorded. */
export interface LocksFound {
  readonly refs: readonly RecordRef[];
  readonly edition: number;
  readonly nodeid: number;
  readonly owner: RecordedOwner;
  /** The handle by which the server knows the file. */
  readonly handle: FileHandle;
  /** The descriptor through which a lock was taken last. */
  readonly fh: number;
  readonly locks: readonly HeldLock[];
}

interface LocksPart extends LocksFound {
  readonly part: number;
  readonly parts: number;
}

function readPart({ ref, content }: KeptRecord): LocksPart {
  const reader = new RecordReader(content);
  const [nodeid, edition, part, parts] = [
    reader.number(),
    reader.number(),
    reader.u32(),
    reader.u32(),
  ] as const;
  const [key, svid, ownerHandle] = [reader.text(), reader.u32(), reader.text()] as const;
  const owner = { key, svid, ownerHandle, flock: reader.u32() === 1, pid: reader.u32() };
  const fh = reader.number();
  const handle = reader.text() as FileHandle;
  const locks = Array.from({ length: Math.min(reader.u32(), MOST_RANGES) }, () => ({
    start: reader.u64(),
    end: reader.u64(),
    exclusive: reader.u32() === 1,
  }));
  return { refs: [ref], edition, part, parts, nodeid, owner, fh, handle, locks };
}

/**
 * The locks in these records, and the records that are of no use: the last edition that is whole counts. A process that died
 * while it wrote one has told nobody of it.
 */
export function readLocks(records: readonly KeptRecord[]): {
  readonly locks: readonly LocksFound[];
  readonly outdated: readonly RecordRef[];
} {
  const editions = new Map<string, LocksPart[]>();
  for (const record of records) {
    const part = readPart(record);
    const name = `${part.nodeid} ${part.owner.key} ${part.edition}`;
    editions.set(name, [...(editions.get(name) ?? []), part]);
  }
  const newest = new Map<string, LocksFound>();
  const outdated: RecordRef[] = [];
  for (const parts of editions.values()) {
    const [first] = parts;
    if (first === undefined) continue;
    const refs = parts.flatMap((part) => part.refs);
    const key = `${first.nodeid} ${first.owner.key}`;
    const known = newest.get(key);
    if (parts.length !== first.parts || (known?.edition ?? 0) > first.edition) {
      outdated.push(...refs);
      continue;
    }
    if (known !== undefined) outdated.push(...known.refs);
    parts.sort((one, other) => one.part - other.part);
    newest.set(key, { ...first, refs, locks: parts.flatMap((part) => part.locks) });
  }
  return { locks: [...newest.values()], outdated };
}

/** Notes of locks, for the next process of this mount, and in another journal as well, for whoever comes after the mount. */
export class KeptLockNotes extends KeptRecords implements LockJournal {
  readonly #after: LockJournal | undefined;
  readonly #refs = new Map<string, { ref: RecordRef; count: number }>();

  constructor(memory: RecordMemory, text: RecordText, after: LockJournal | undefined) {
    super(memory, text);
    this.#after = after;
  }

  note(note: LockNote): void {
    const key = keyOf(note);
    const known = this.#refs.get(key);
    if (known !== undefined) known.count++;
    else this.#refs.set(key, { ref: this.#put(note), count: 1 });
    this.#after?.note(note);
  }

  #put({ handle, svid, ownerHandle, waiting }: LockNote): RecordRef {
    const text = this.text.begin().text(handle).u32(svid).text(ownerHandle);
    text.u32(waiting === undefined ? 0 : waiting.exclusive ? 2 : 1);
    if (waiting !== undefined) text.u64(waiting.start).u64(waiting.end);
    return this.memory.put(RecordKind.LOCK_NOTE, [], text.bytes, text.length);
  }

  forget(note: LockNote): void {
    const key = keyOf(note);
    const known = this.#refs.get(key);
    if (known !== undefined && --known.count === 0) {
      this.memory.free(known.ref);
      this.#refs.delete(key);
    }
    this.#after?.forget(note);
  }

  close(allReleased: boolean): void {
    this.#after?.close(allReleased);
  }
}

function keyOf({ handle, svid, ownerHandle, waiting }: LockNote): string {
  const range = waiting && `${waiting.start} ${waiting.end} ${waiting.exclusive}`;
  return `${handle} ${svid} ${ownerHandle} ${range ?? ''}`;
}

export function readLockNote({ content }: KeptRecord): LockNote {
  const reader = new RecordReader(content);
  const handle = reader.text() as FileHandle;
  const svid = reader.u32();
  const ownerHandle = reader.text();
  const kind = reader.u32();
  if (kind === 0) return { handle, svid, ownerHandle };
  return {
    handle,
    svid,
    ownerHandle,
    waiting: { start: reader.u64(), end: reader.u64(), exclusive: kind === 2 },
  };
}
