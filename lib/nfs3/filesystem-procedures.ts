/** Procedures on a file system: FSSTAT, FSINFO, PATHCONF (RFC 1813 3.3.18 to 3.3.20). */
import type { Procedure } from '../rpc/procedure.js';
import { decodePostOpAttributes, encodePostOpAttributes, type Fattr3, type NfsTime } from './attributes.js';
import { NFS_PROGRAM, Status } from './constants.js';
import { decodeFileHandle, encodeFileHandle, type FileHandle } from './file-handle.js';
import { decodeStatus, type Result } from './status.js';

export interface FilesystemArguments {
  readonly object: FileHandle;
}

interface AttributesOnly {
  readonly attributes: Fattr3 | undefined;
}

/** Bytes and file slots of the whole, free, and free to the caller. */
export interface Fsstat {
  readonly totalBytes: bigint;
  readonly freeBytes: bigint;
  readonly availableBytes: bigint;
  readonly totalFiles: bigint;
  readonly freeFiles: bigint;
  readonly availableFiles: bigint;
  /** Seconds for which the numbers are not expected to change. */
  readonly invariantSeconds: number;
}

export type FsstatResult = Result<AttributesOnly & Fsstat, AttributesOnly>;

export const FSSTAT: Procedure<FilesystemArguments, FsstatResult> = {
  program: NFS_PROGRAM,
  number: 18,
  name: 'FSSTAT',
  encodeArguments: (writer, args) => encodeFileHandle(writer, args.object),
  decodeArguments: (reader) => ({ object: decodeFileHandle(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    if (result.status !== Status.OK) return;
    writer.uint64(result.totalBytes);
    writer.uint64(result.freeBytes);
    writer.uint64(result.availableBytes);
    writer.uint64(result.totalFiles);
    writer.uint64(result.freeFiles);
    writer.uint64(result.availableFiles);
    writer.uint32(result.invariantSeconds);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const attributes = decodePostOpAttributes(reader);
    if (status !== Status.OK) return { status, attributes };
    return {
      status,
      attributes,
      totalBytes: reader.uint64(),
      freeBytes: reader.uint64(),
      availableBytes: reader.uint64(),
      totalFiles: reader.uint64(),
      freeFiles: reader.uint64(),
      availableFiles: reader.uint64(),
      invariantSeconds: reader.uint32(),
    };
  },
};

/** Transfer sizes in bytes: largest, preferred, and the multiple to keep to. */
export interface Fsinfo {
  readonly rtmax: number;
  readonly rtpref: number;
  readonly rtmult: number;
  readonly wtmax: number;
  readonly wtpref: number;
  readonly wtmult: number;
  readonly dtpref: number;
  readonly maxFileSize: bigint;
  readonly timeDelta: NfsTime;
  /** FsProperty bits. */
  readonly properties: number;
}

export type FsinfoResult = Result<AttributesOnly & Fsinfo, AttributesOnly>;

export const FSINFO: Procedure<FilesystemArguments, FsinfoResult> = {
  program: NFS_PROGRAM,
  number: 19,
  name: 'FSINFO',
  encodeArguments: (writer, args) => encodeFileHandle(writer, args.object),
  decodeArguments: (reader) => ({ object: decodeFileHandle(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    if (result.status !== Status.OK) return;
    writer.uint32(result.rtmax);
    writer.uint32(result.rtpref);
    writer.uint32(result.rtmult);
    writer.uint32(result.wtmax);
    writer.uint32(result.wtpref);
    writer.uint32(result.wtmult);
    writer.uint32(result.dtpref);
    writer.uint64(result.maxFileSize);
    writer.uint32(result.timeDelta.seconds);
    writer.uint32(result.timeDelta.nanoseconds);
    writer.uint32(result.properties);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const attributes = decodePostOpAttributes(reader);
    if (status !== Status.OK) return { status, attributes };
    return {
      status,
      attributes,
      rtmax: reader.uint32(),
      rtpref: reader.uint32(),
      rtmult: reader.uint32(),
      wtmax: reader.uint32(),
      wtpref: reader.uint32(),
      wtmult: reader.uint32(),
      dtpref: reader.uint32(),
      maxFileSize: reader.uint64(),
      timeDelta: { seconds: reader.uint32(), nanoseconds: reader.uint32() },
      properties: reader.uint32(),
    };
  },
};

export interface Pathconf {
  readonly linkMax: number;
  readonly nameMax: number;
  /** Longer names are refused rather than cut. */
  readonly noTrunc: boolean;
  readonly chownRestricted: boolean;
  readonly caseInsensitive: boolean;
  readonly casePreserving: boolean;
}

export type PathconfResult = Result<AttributesOnly & Pathconf, AttributesOnly>;

export const PATHCONF: Procedure<FilesystemArguments, PathconfResult> = {
  program: NFS_PROGRAM,
  number: 20,
  name: 'PATHCONF',
  encodeArguments: (writer, args) => encodeFileHandle(writer, args.object),
  decodeArguments: (reader) => ({ object: decodeFileHandle(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    if (result.status !== Status.OK) return;
    writer.uint32(result.linkMax);
    writer.uint32(result.nameMax);
    writer.bool(result.noTrunc);
    writer.bool(result.chownRestricted);
    writer.bool(result.caseInsensitive);
    writer.bool(result.casePreserving);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    const attributes = decodePostOpAttributes(reader);
    if (status !== Status.OK) return { status, attributes };
    return {
      status,
      attributes,
      linkMax: reader.uint32(),
      nameMax: reader.uint32(),
      noTrunc: reader.bool(),
      chownRestricted: reader.bool(),
      caseInsensitive: reader.bool(),
      casePreserving: reader.bool(),
    };
  },
};
