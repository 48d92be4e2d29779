/** Records of open files and directories. */
import type { KeptRecord, RecordRef } from '../../records/index.js';
import type { Credentials, KernelRequest, UserCredential } from '../caller/caller.js';
import type { FileRecords } from '../data/file-records.js';
import type { OpenFile, ToldRequest } from '../data/open-file.js';
import type { DirectoryRecords, OpenDirectory } from '../directories/directory-records.js';
import type { ListingPlace } from '../directories/listing-place.js';
import { KeptRecords, RecordKind, RecordReader } from './record-text.js';

const ERRORS_SEEN = 0;
/** The request that was told of errors last, and how many had been seen before. */
const TOLD = 1;
const SEEN_BEFORE = 2;
const VERIFIER_BYTES = 8;

/** An open file as it was recorded. */
export interface FileFound {
  readonly ref: RecordRef;
  readonly fh: number;
  readonly nodeid: number;
  /** The kernel's number for the request that opened it. */
  readonly unique: number;
  readonly flags: number;
  readonly credential: UserCredential;
  readonly errorsSeen: number;
  readonly told: ToldRequest | undefined;
}

export class KeptFiles extends KeptRecords implements FileRecords {
  opened(file: OpenFile, request: KernelRequest | undefined): void {
    const { fh, inode, flags, credential, errorsSeen } = file;
    const text = this.text
      .begin()
      .number(fh)
      .number(inode.nodeid)
      .number(request?.unique ?? 0);
    text.u32(flags).credential(credential);
    file.record = this.memory.put(RecordKind.FILE, [errorsSeen, 0, 0], text.bytes, text.length);
  }

  errorsSeen({ record, errorsSeen, told }: OpenFile): void {
    // In this order, so that a request never stands beside what another one has been told. One that is told again, since nobody
    // had its answer, counts as told only when all of it is written again.
    this.memory.setCell(record, ERRORS_SEEN, told?.before ?? errorsSeen);
    this.memory.setCell(record, TOLD, 0);
    this.memory.setCell(record, SEEN_BEFORE, told?.before ?? 0);
    this.memory.setCell(record, TOLD, told?.unique ?? 0);
    this.memory.setCell(record, ERRORS_SEEN, errorsSeen);
  }

  closed(file: OpenFile): void {
    this.memory.free(file.record);
    file.record = 0;
  }
}

export function readFile({ ref, cells, content }: KeptRecord, credentials: Credentials): FileFound {
  const reader = new RecordReader(content);
  return {
    ref,
    fh: reader.number(),
    nodeid: reader.number(),
    unique: reader.number(),
    flags: reader.u32(),
    credential: reader.credential(credentials),
    errorsSeen: cells[ERRORS_SEEN] ?? 0,
    told: cells[TOLD] ? { unique: cells[TOLD], before: cells[SEEN_BEFORE] ?? 0 } : undefined,
  };
}

/** An open directory as it was recorded. */
export interface DirectoryFound {
  readonly ref: RecordRef;
  readonly stamp: number;
  readonly fh: number;
  readonly nodeid: number;
  readonly unique: number;
  readonly place: ListingPlace | undefined;
}

export class KeptDirectories extends KeptRecords implements DirectoryRecords {
  opened(directory: OpenDirectory): void {
    directory.record = this.#put(directory, undefined);
  }

  read(directory: OpenDirectory, place: ListingPlace): void {
    const before = directory.record;
    directory.record = this.#put(directory, place);
    this.memory.free(before);
  }

  closed(directory: OpenDirectory): void {
    this.memory.free(directory.record);
    directory.record = 0;
  }

  #put({ fh, inode, unique }: OpenDirectory, place: ListingPlace | undefined): RecordRef {
    const text = this.text.begin().number(fh).number(inode.nodeid).number(unique);
    text.u32(place === undefined ? 0 : 1);
    if (place !== undefined) {
      const { top, looked, marks } = place;
      text.number(top).u32(looked === undefined ? 0 : 1);
      const { mtime, ctime } = looked ?? { mtime: NEVER, ctime: NEVER };
      text.u32(mtime.seconds).u32(mtime.nanoseconds).u32(ctime.seconds).u32(ctime.nanoseconds);
      text.u32(marks.length);
      for (const { index, position } of marks)
        text.number(index).u64(position.cookie).text(position.verifier.toString('latin1'));
    }
    return this.memory.put(RecordKind.DIRECTORY, [], text.bytes, text.length);
  }
}

const NEVER = { seconds: 0, nanoseconds: 0 };

export function readDirectory({ ref, stamp, content }: KeptRecord): DirectoryFound {
  const reader = new RecordReader(content);
  const [fh, nodeid, unique] = [reader.number(), reader.number(), reader.number()] as const;
  return { ref, stamp, fh, nodeid, unique, place: reader.u32() === 0 ? undefined : readPlace(reader) };
}

function readPlace(reader: RecordReader): ListingPlace {
  const top = reader.number();
  const isKnown = reader.u32() !== 0;
  const mtime = { seconds: reader.u32(), nanoseconds: reader.u32() };
  const ctime = { seconds: reader.u32(), nanoseconds: reader.u32() };
  const marks = Array.from({ length: Math.min(reader.u32(), 64) }, () => {
    const index = reader.number();
    const cookie = reader.u64();
    const verifier = Buffer.alloc(VERIFIER_BYTES);
    verifier.write(reader.text(), 'latin1');
    return { index, position: { cookie, verifier } };
  });
  return { top, looked: isKnown ? { mtime, ctime } : undefined, marks };
}
