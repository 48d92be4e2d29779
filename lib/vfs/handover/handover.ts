/**
 * Records for the next process of this mount, should there be one. Owns which records there are; each part of the client writes
 * its own through one of these, before the kernel or a program is told.
 */
import type { RecordMemory } from '../../records/index.js';
import type { LockJournal } from '../locks/lock-notes.js';
import type { KnownExport } from '../remote/export-session.js';
import { CounterRecords } from './counter-records.js';
import { recordExport } from './export-record.js';
import { findCounters } from './found-records.js';
import { KeptInodes } from './inode-records.js';
import { KeptLockNotes, KeptLocks } from './kept-locks.js';
import { KeptDirectories, KeptFiles } from './open-records.js';
import { RecordText } from './record-text.js';
import { KeptRequests } from './request-records.js';
import { KeptSillyNames } from './silly-records.js';
import { KeptWrites } from './write-records.js';

export interface HandoverOptions {
  readonly memory: RecordMemory;
  /** The records are those of an earlier process: this one goes on with its mount. */
  readonly isTakeover: boolean;
}

export class Handover {
  readonly memory: RecordMemory;
  /** This process goes on with the mount of an earlier one. */
  readonly isTakeover: boolean;
  readonly counters: CounterRecords;
  readonly inodes: KeptInodes;
  readonly files: KeptFiles;
  readonly directories: KeptDirectories;
  readonly writes: KeptWrites;
  readonly silly: KeptSillyNames;
  readonly locks: KeptLocks;
  readonly requests: KeptRequests;
  readonly #text = new RecordText();

  /** @throws RecordsError if the records of an earlier process have none of what every mount has */
  constructor({ memory, isTakeover }: HandoverOptions) {
    this.memory = memory;
    this.isTakeover = isTakeover;
    const found = isTakeover ? findCounters(memory) : undefined;
    this.counters = new CounterRecords(memory, found);
    this.inodes = new KeptInodes(memory, this.#text);
    this.files = new KeptFiles(memory, this.#text);
    this.directories = new KeptDirectories(memory, this.#text);
    this.writes = new KeptWrites(memory, this.#text);
    this.silly = new KeptSillyNames(memory, this.#text);
    this.locks = new KeptLocks(memory, this.#text);
    this.requests = new KeptRequests(memory, this.#text);
  }

  /** Reserves node ids for the inodes of this process. */
  readonly nodeids = (from: number): number => this.counters.reserveNodeids(from);
  /** Reserves numbers for the open files and directories of this process. */
  readonly fhs = (from: number): number => this.counters.reserveFhs(from);

  /** The export is reached this way. */
  reaches(known: KnownExport): void {
    recordExport(this.memory, this.#text, known);
  }

  /** Notes of locks, which go to `after` as well. */
  lockNotes(after: LockJournal | undefined): LockJournal {
    return new KeptLockNotes(this.memory, this.#text, after);
  }
}
