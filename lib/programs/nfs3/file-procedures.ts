/** Procedures on one object: NULL, GETATTR, SETATTR, ACCESS, READLINK, READ, WRITE, COMMIT (RFC 1813 3.3). */
import { nullProcedure, type Procedure } from '../../rpc/wire/procedure.js';
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import {
  decodeFattr3,
  decodeGuard,
  decodePostOpAttributes,
  decodeSattr3,
  decodeWccData,
  encodeFattr3,
  encodeGuard,
  encodePostOpAttributes,
  encodeSattr3,
  encodeWccData,
  type Fattr3,
  type NfsTime,
  type Sattr3,
  type WccData,
} from './attributes.js';
import { MAX_DATA, NFS_PROGRAM, StableHow, Status, WRITE_VERIFIER_SIZE } from './constants.js';
import { decodeFileHandle, encodeFileHandle, type FileHandle } from './file-handle.js';
import { decodeStatus, type Result, type UniformResult } from './status.js';

export const NULL = nullProcedure(NFS_PROGRAM);

export interface GetattrArguments {
  readonly object: FileHandle;
}

export type GetattrResult = Result<{ readonly attributes: Fattr3 }>;

export const GETATTR: Procedure<GetattrArguments, GetattrResult> = {
  program: NFS_PROGRAM,
  number: 1,
  name: 'GETATTR',
  encodeArguments: (writer, args) => encodeFileHandle(writer, args.object),
  decodeArguments: (reader) => ({ object: decodeFileHandle(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    if (result.status === Status.OK) encodeFattr3(writer, result.attributes);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    if (status !== Status.OK) return { status };
    const attributes = decodeFattr3(reader);
    // Only this object is in error, not the connection nor the directory that it is in.
    return attributes === undefined ? { status: Status.IO } : { status, attributes };
  },
};

export interface SetattrArguments {
  readonly object: FileHandle;
  readonly attributes: Sattr3;
  /** If given, the server refuses (NFS3ERR_NOT_SYNC) unless the object's ctime is this. */
  readonly guard: NfsTime | undefined;
}

export interface WccOnly {
  readonly wcc: WccData;
}

export type WccResult = UniformResult<WccOnly>;

/** The codec of a result that has a status and wcc_data, and nothing else. */
export const wccResult: Pick<Procedure<unknown, WccResult>, 'encodeResult' | 'decodeResult'> = {
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodeWccData(writer, result.wcc);
  },
  decodeResult: (reader) => ({ status: decodeStatus(reader), wcc: decodeWccData(reader) }),
};

export const SETATTR: Procedure<SetattrArguments, WccResult> = {
  program: NFS_PROGRAM,
  number: 2,
  name: 'SETATTR',
  encodeArguments(writer, args) {
    encodeFileHandle(writer, args.object);
    encodeSattr3(writer, args.attributes);
    encodeGuard(writer, args.guard);
  },
  decodeArguments: (reader) => ({
    object: decodeFileHandle(reader),
    attributes: decodeSattr3(reader),
    guard: decodeGuard(reader),
  }),
  ...wccResult,
};

export interface AccessArguments {
  readonly object: FileHandle;
  readonly access: number;
}

interface AttributesOnly {
  readonly attributes: Fattr3 | undefined;
}

export type AccessResult = Result<AttributesOnly & { readonly access: number }, AttributesOnly>;

export const ACCESS: Procedure<AccessArguments, AccessResult> = {
  program: NFS_PROGRAM,
  number: 4,
  name: 'ACCESS',
  encodeArguments(writer, args) {
    encodeFileHandle(writer, args.object);
    writer.uint32(args.access);
  },
  decodeArguments: (reader) => ({ object: decodeFileHandle(reader), access: reader.uint32() }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    if (result.status === Status.OK) writer.uint32(result.access);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const attributes = decodePostOpAttributes(reader);
    return status === Status.OK ? { status, attributes, access: reader.uint32() } : { status, attributes };
  },
};

export interface ReadlinkArguments {
  readonly symlink: FileHandle;
}

export type ReadlinkResult = Result<AttributesOnly & { readonly target: Buffer }, AttributesOnly>;

export const READLINK: Procedure<ReadlinkArguments, ReadlinkResult> = {
  program: NFS_PROGRAM,
  number: 5,
  name: 'READLINK',
  encodeArguments: (writer, args) => encodeFileHandle(writer, args.symlink),
  decodeArguments: (reader) => ({ symlink: decodeFileHandle(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    if (result.status === Status.OK) writer.opaque(result.target);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const attributes = decodePostOpAttributes(reader);
    return status === Status.OK
      ? { status, attributes, target: reader.opaque(MAX_DATA, 'link text') }
      : { status, attributes };
  },
};

/** A range of bytes of a file: the arguments of READ and of COMMIT. */
interface FileRange {
  readonly file: FileHandle;
  readonly offset: number;
  readonly count: number;
}

function encodeRange(writer: XdrWriter, { file, offset, count }: FileRange): void {
  encodeFileHandle(writer, file);
  writer.uint64FromNumber(offset);
  writer.uint32(count);
}

function decodeRange(reader: XdrReader): FileRange {
  return { file: decodeFileHandle(reader), offset: reader.uint64AsNumber(), count: reader.uint32() };
}

export interface ReadArguments {
  readonly file: FileHandle;
  readonly offset: number;
  readonly count: number;
}

export type ReadResult = Result<
  AttributesOnly & {
    readonly eof: boolean;
    /**
     * The smaller one of what the reply announces and what it carries. Shares the memory of the record that it came in.
     */
    readonly data: Uint8Array;
  },
  AttributesOnly
>;

export const READ: Procedure<ReadArguments, ReadResult> = {
  program: NFS_PROGRAM,
  number: 6,
  name: 'READ',
  encodeArguments: encodeRange,
  decodeArguments: decodeRange,
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    if (result.status !== Status.OK) return;
    writer.uint32(result.data.length);
    writer.bool(result.eof);
    writer.opaqueByReference(result.data);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const attributes = decodePostOpAttributes(reader);
    if (status !== Status.OK) return { status, attributes };
    const count = reader.uint32();
    const eof = reader.bool();
    const data = reader.opaque(MAX_DATA, 'READ data');
    // Some servers send more bytes than `count` says (nfs-ganesha 6 at the end of a file): only `count` are data. If
    // fewer bytes came than `count` says, this is not the end of the file.
    if (data.length < count) return { status, attributes, eof: false, data };
    return { status, attributes, eof, data: data.length > count ? data.subarray(0, count) : data };
  },
};

export interface WriteArguments {
  readonly file: FileHandle;
  readonly offset: number;
  readonly stable: StableHow;
  /** Sent without a copy: must stay unchanged until the call is answered. */
  readonly data: Uint8Array;
}

export type WriteResult = Result<
  WccOnly & {
    readonly count: number;
    readonly committed: StableHow;
    /** One character per byte, so that verifiers compare with ===. */
    readonly verifier: string;
  },
  WccOnly
>;

function decodeVerifier(reader: XdrReader): string {
  return reader.opaqueFixed(WRITE_VERIFIER_SIZE).toString('latin1');
}

export const WRITE: Procedure<WriteArguments, WriteResult> = {
  program: NFS_PROGRAM,
  number: 7,
  name: 'WRITE',
  encodeArguments(writer, args) {
    encodeFileHandle(writer, args.file);
    writer.uint64FromNumber(args.offset);
    writer.uint32(args.data.length);
    writer.uint32(args.stable);
    writer.opaqueByReference(args.data);
  },
  decodeArguments(reader) {
    const file = decodeFileHandle(reader);
    const offset = reader.uint64AsNumber();
    const count = reader.uint32();
    const stable = reader.enumeration(StableHow.UNSTABLE, StableHow.FILE_SYNC, 'stable_how') as StableHow;
    const data = reader.opaque(MAX_DATA, 'WRITE data');
    if (data.length !== count) throw new XdrError(`WRITE says ${count} bytes and carries ${data.length}`);
    return { file, offset, stable, data };
  },
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodeWccData(writer, result.wcc);
    if (result.status !== Status.OK) return;
    writer.uint32(result.count);
    writer.uint32(result.committed);
    writer.opaqueFixed(Buffer.from(result.verifier, 'latin1'));
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const wcc = decodeWccData(reader);
    if (status !== Status.OK) return { status, wcc };
    const count = reader.uint32();
    const committed = reader.enumeration(StableHow.UNSTABLE, StableHow.FILE_SYNC, 'committed') as StableHow;
    return { status, wcc, count, committed, verifier: decodeVerifier(reader) };
  },
};

export interface CommitArguments {
  readonly file: FileHandle;
  readonly offset: number;
  /** 0: to the end of the file. */
  readonly count: number;
}

export type CommitResult = Result<WccOnly & { readonly verifier: string }, WccOnly>;

export const COMMIT: Procedure<CommitArguments, CommitResult> = {
  program: NFS_PROGRAM,
  number: 21,
  name: 'COMMIT',
  encodeArguments: encodeRange,
  decodeArguments: decodeRange,
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodeWccData(writer, result.wcc);
    if (result.status === Status.OK) writer.opaqueFixed(Buffer.from(result.verifier, 'latin1'));
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const wcc = decodeWccData(reader);
    return status === Status.OK ? { status, wcc, verifier: decodeVerifier(reader) } : { status, wcc };
  },
};
