/** READDIR and READDIRPLUS (RFC 1813 3.3.16, 3.3.17): arguments, results, codecs. */
import type { Procedure } from '../../rpc/wire/procedure.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { decodePostOpAttributes, encodePostOpAttributes, type Fattr3 } from './attributes.js';
import { COOKIE_VERIFIER_SIZE, NFS_PROGRAM, Status } from './constants.js';
import {
  decodeEntryHandle,
  decodeFileHandle,
  encodeFileHandle,
  encodePostOpHandle,
  type FileHandle,
} from './file-handle.js';
import { decodeFileName, encodeFileName, type FileName } from './file-name.js';
import { decodeStatus, type Result } from './status.js';

export interface ReaddirArguments {
  readonly directory: FileHandle;
  /** 0: from the start; else the cookie of the last entry seen. */
  readonly cookie: bigint;
  /** Eight bytes: zeros with cookie 0, else as the server last sent it. */
  readonly cookieVerifier: Uint8Array;
  /** Largest result in bytes. */
  readonly count: number;
}

export interface DirectoryEntry {
  readonly fileid: bigint;
  readonly name: FileName;
  readonly cookie: bigint;
}

export interface DirectoryEntryPlus extends DirectoryEntry {
  readonly attributes: Fattr3 | undefined;
  readonly handle: FileHandle | undefined;
}

interface DirectoryFail {
  readonly directoryAttributes: Fattr3 | undefined;
}

interface DirectoryOk<Entry> extends DirectoryFail {
  readonly cookieVerifier: Buffer;
  readonly entries: readonly Entry[];
  readonly eof: boolean;
}

export type ReaddirResult = Result<DirectoryOk<DirectoryEntry>, DirectoryFail>;

export interface ReaddirplusArguments extends Omit<ReaddirArguments, 'count'> {
  /** Largest amount of names, cookies and fileids in bytes. */
  readonly dircount: number;
  /** Largest result in bytes. */
  readonly maxcount: number;
}

export type ReaddirplusResult = Result<DirectoryOk<DirectoryEntryPlus>, DirectoryFail>;

/** A name that is too long for programs is left out. The rest of the directory stays readable. */
const MAX_LISTED_NAME = 64 * 1024;

function decodeResult<Entry>(
  reader: XdrReader,
  decodeEntry: (reader: XdrReader) => Entry,
): Result<DirectoryOk<Entry>, DirectoryFail> {
  const status = decodeStatus(reader);
  const directoryAttributes = decodePostOpAttributes(reader);
  if (status !== Status.OK) return { status, directoryAttributes };
  const cookieVerifier = Buffer.from(reader.opaqueFixed(COOKIE_VERIFIER_SIZE));
  const entries: Entry[] = [];
  // The bound on the size of a record also bounds the number of entries.
  while (reader.bool()) entries.push(decodeEntry(reader));
  return { status, directoryAttributes, cookieVerifier, entries, eof: reader.bool() };
}

function encodeResult<Entry>(
  writer: XdrWriter,
  result: Result<DirectoryOk<Entry>, DirectoryFail>,
  encodeEntry: (writer: XdrWriter, entry: Entry) => void,
): void {
  writer.uint32(result.status);
  encodePostOpAttributes(writer, result.directoryAttributes);
  if (result.status !== Status.OK) return;
  writer.opaqueFixed(result.cookieVerifier);
  for (const entry of result.entries) {
    writer.bool(true);
    encodeEntry(writer, entry);
  }
  writer.bool(false);
  writer.bool(result.eof);
}

function decodeEntry(reader: XdrReader): DirectoryEntry {
  return { fileid: reader.uint64(), name: decodeFileName(reader, MAX_LISTED_NAME), cookie: reader.uint64() };
}

function encodeEntry(writer: XdrWriter, entry: DirectoryEntry): void {
  writer.uint64(entry.fileid);
  encodeFileName(writer, entry.name);
  writer.uint64(entry.cookie);
}

function decodeEntryPlus(reader: XdrReader): DirectoryEntryPlus {
  return {
    fileid: reader.uint64(),
    name: decodeFileName(reader, MAX_LISTED_NAME),
    cookie: reader.uint64(),
    attributes: decodePostOpAttributes(reader),
    handle: decodeEntryHandle(reader),
  };
}

function encodeEntryPlus(writer: XdrWriter, entry: DirectoryEntryPlus): void {
  encodeEntry(writer, entry);
  encodePostOpAttributes(writer, entry.attributes);
  encodePostOpHandle(writer, entry.handle);
}

export const READDIR: Procedure<ReaddirArguments, ReaddirResult> = {
  program: NFS_PROGRAM,
  number: 16,
  name: 'READDIR',
  encodeArguments(writer, args) {
    encodeFileHandle(writer, args.directory);
    writer.uint64(args.cookie);
    writer.opaqueFixed(args.cookieVerifier);
    writer.uint32(args.count);
  },
  decodeArguments: (reader) => ({
    directory: decodeFileHandle(reader),
    cookie: reader.uint64(),
    cookieVerifier: reader.opaqueFixed(COOKIE_VERIFIER_SIZE),
    count: reader.uint32(),
  }),
  encodeResult: (writer, result) => encodeResult(writer, result, encodeEntry),
  decodeResult: (reader) => decodeResult(reader, decodeEntry),
};

export const READDIRPLUS: Procedure<ReaddirplusArguments, ReaddirplusResult> = {
  program: NFS_PROGRAM,
  number: 17,
  name: 'READDIRPLUS',
  encodeArguments(writer, args) {
    encodeFileHandle(writer, args.directory);
    writer.uint64(args.cookie);
    writer.opaqueFixed(args.cookieVerifier);
    writer.uint32(args.dircount);
    writer.uint32(args.maxcount);
  },
  decodeArguments: (reader) => ({
    directory: decodeFileHandle(reader),
    cookie: reader.uint64(),
    cookieVerifier: reader.opaqueFixed(COOKIE_VERIFIER_SIZE),
    dircount: reader.uint32(),
    maxcount: reader.uint32(),
  }),
  encodeResult: (writer, result) => encodeResult(writer, result, encodeEntryPlus),
  decodeResult: (reader) => decodeResult(reader, decodeEntryPlus),
};
