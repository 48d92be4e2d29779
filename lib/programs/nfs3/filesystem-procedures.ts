/** Procedures on a file system: FSSTAT, FSINFO, PATHCONF (RFC 1813 3.3.18 to 3.3.20). */
import type { Procedure } from '../../rpc/wire/procedure.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
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

/** The codec that the three procedures share. They differ in what follows the attributes of a success. */
function procedure<Body extends object>(
  number: number,
  name: string,
  encodeBody: (writer: XdrWriter, body: Body) => void,
  decodeBody: (reader: XdrReader) => Body,
): Procedure<FilesystemArguments, Result<AttributesOnly & Body, AttributesOnly>> {
  return {
    program: NFS_PROGRAM,
    number,
    name,
    encodeArguments: (writer, args) => encodeFileHandle(writer, args.object),
    decodeArguments: (reader) => ({ object: decodeFileHandle(reader) }),
    encodeResult(writer, result) {
      writer.uint32(result.status);
      encodePostOpAttributes(writer, result.attributes);
      if (result.status === Status.OK) encodeBody(writer, result);
    },
    decodeResult(reader) {
      const status = decodeStatus(reader);
      const attributes = decodePostOpAttributes(reader);
      return status === Status.OK ? { status, attributes, ...decodeBody(reader) } : { status, attributes };
    },
  };
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

export const FSSTAT = procedure<Fsstat>(
  18,
  'FSSTAT',
  (writer, body) => {
    writer.uint64(body.totalBytes);
    writer.uint64(body.freeBytes);
    writer.uint64(body.availableBytes);
    writer.uint64(body.totalFiles);
    writer.uint64(body.freeFiles);
    writer.uint64(body.availableFiles);
    writer.uint32(body.invariantSeconds);
  },
  (reader) => ({
    totalBytes: reader.uint64(),
    freeBytes: reader.uint64(),
    availableBytes: reader.uint64(),
    totalFiles: reader.uint64(),
    freeFiles: reader.uint64(),
    availableFiles: reader.uint64(),
    invariantSeconds: reader.uint32(),
  }),
);

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

export const FSINFO = procedure<Fsinfo>(
  19,
  'FSINFO',
  (writer, body) => {
    writer.uint32(body.rtmax);
    writer.uint32(body.rtpref);
    writer.uint32(body.rtmult);
    writer.uint32(body.wtmax);
    writer.uint32(body.wtpref);
    writer.uint32(body.wtmult);
    writer.uint32(body.dtpref);
    writer.uint64(body.maxFileSize);
    writer.uint32(body.timeDelta.seconds);
    writer.uint32(body.timeDelta.nanoseconds);
    writer.uint32(body.properties);
  },
  (reader) => ({
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
  }),
);

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

export const PATHCONF = procedure<Pathconf>(
  20,
  'PATHCONF',
  (writer, body) => {
    writer.uint32(body.linkMax);
    writer.uint32(body.nameMax);
    writer.bool(body.noTrunc);
    writer.bool(body.chownRestricted);
    writer.bool(body.caseInsensitive);
    writer.bool(body.casePreserving);
  },
  (reader) => ({
    linkMax: reader.uint32(),
    nameMax: reader.uint32(),
    noTrunc: reader.bool(),
    chownRestricted: reader.bool(),
    caseInsensitive: reader.bool(),
    casePreserving: reader.bool(),
  }),
);
