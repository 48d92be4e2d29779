/** Procedures on names: LOOKUP, CREATE, MKDIR, SYMLINK, MKNOD, REMOVE, RMDIR, RENAME, LINK (RFC 1813 3.3). */
import type { Procedure } from '../../rpc/wire/procedure.js';
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import {
  decodePostOpAttributes,
  decodeSattr3,
  decodeWccData,
  encodePostOpAttributes,
  encodeSattr3,
  encodeWccData,
  type Fattr3,
  type Sattr3,
  type WccData,
} from './attributes.js';
import { CREATE_VERIFIER_SIZE, CreateMode, FileType, MAX_PATH, NFS_PROGRAM, Status } from './constants.js';
import {
  decodeFileHandle,
  decodePostOpHandle,
  encodeFileHandle,
  encodePostOpHandle,
  type FileHandle,
} from './file-handle.js';
import { decodeFileName, encodeFileName, type FileName } from './file-name.js';
import { type WccResult, wccResult } from './file-procedures.js';
import { decodeStatus, type Result, type UniformResult } from './status.js';

/** diropargs3: a name in a directory. */
export interface DirectoryName {
  readonly directory: FileHandle;
  readonly name: FileName;
}

function encodeDirectoryName(writer: XdrWriter, where: DirectoryName): void {
  encodeFileHandle(writer, where.directory);
  encodeFileName(writer, where.name);
}

function decodeDirectoryName(reader: XdrReader): DirectoryName {
  return { directory: decodeFileHandle(reader), name: decodeFileName(reader) };
}

interface LookupFail {
  readonly directoryAttributes: Fattr3 | undefined;
}

export type LookupResult = Result<
  LookupFail & { readonly object: FileHandle; readonly attributes: Fattr3 | undefined },
  LookupFail
>;

export const LOOKUP: Procedure<DirectoryName, LookupResult> = {
  program: NFS_PROGRAM,
  number: 3,
  name: 'LOOKUP',
  encodeArguments: encodeDirectoryName,
  decodeArguments: decodeDirectoryName,
  encodeResult(writer, result) {
    writer.uint32(result.status);
    if (result.status === Status.OK) {
      encodeFileHandle(writer, result.object);
      encodePostOpAttributes(writer, result.attributes);
    }
    encodePostOpAttributes(writer, result.directoryAttributes);
  },
  decodeResult(reader) {
    const status = decodeStatus(reader);
    if (status !== Status.OK) return { status, directoryAttributes: decodePostOpAttributes(reader) };
    const object = decodeFileHandle(reader);
    const attributes = decodePostOpAttributes(reader);
    return { status, object, attributes, directoryAttributes: decodePostOpAttributes(reader) };
  },
};

/** The result of CREATE, MKDIR, SYMLINK and MKNOD. Handle and attributes may be missing even after a success. */
export type MakeResult = Result<
  {
    readonly object: FileHandle | undefined;
    readonly attributes: Fattr3 | undefined;
    readonly directoryWcc: WccData;
  },
  { readonly directoryWcc: WccData }
>;

function encodeMakeResult(writer: XdrWriter, result: MakeResult): void {
  writer.uint32(result.status);
  if (result.status === Status.OK) {
    encodePostOpHandle(writer, result.object);
    encodePostOpAttributes(writer, result.attributes);
  }
  encodeWccData(writer, result.directoryWcc);
}

function decodeMakeResult(reader: XdrReader): MakeResult {
  const status = decodeStatus(reader);
  if (status !== Status.OK) return { status, directoryWcc: decodeWccData(reader) };
  const object = decodePostOpHandle(reader);
  const attributes = decodePostOpAttributes(reader);
  return { status, object, attributes, directoryWcc: decodeWccData(reader) };
}

/** createhow3. EXCLUSIVE carries no attributes: a SETATTR sets them afterwards. */
export type CreateHow =
  | { readonly mode: typeof CreateMode.UNCHECKED | typeof CreateMode.GUARDED; readonly attributes: Sattr3 }
  | { readonly mode: typeof CreateMode.EXCLUSIVE; readonly verifier: Uint8Array };

export interface CreateArguments {
  readonly where: DirectoryName;
  readonly how: CreateHow;
}

export const CREATE: Procedure<CreateArguments, MakeResult> = {
  program: NFS_PROGRAM,
  number: 8,
  name: 'CREATE',
  encodeArguments(writer, args) {
    encodeDirectoryName(writer, args.where);
    writer.uint32(args.how.mode);
    if (args.how.mode === CreateMode.EXCLUSIVE) writer.opaqueFixed(args.how.verifier);
    else encodeSattr3(writer, args.how.attributes);
  },
  decodeArguments(reader) {
    const where = decodeDirectoryName(reader);
    const mode = reader.uint32();
    switch (mode) {
      case CreateMode.UNCHECKED:
      case CreateMode.GUARDED:
        return { where, how: { mode, attributes: decodeSattr3(reader) } };
      case CreateMode.EXCLUSIVE:
        return { where, how: { mode, verifier: reader.opaqueFixed(CREATE_VERIFIER_SIZE) } };
      default:
        throw new XdrError(`createmode3 is ${mode}`);
    }
  },
  encodeResult: encodeMakeResult,
  decodeResult: decodeMakeResult,
};

export interface MkdirArguments {
  readonly where: DirectoryName;
  readonly attributes: Sattr3;
}

export const MKDIR: Procedure<MkdirArguments, MakeResult> = {
  program: NFS_PROGRAM,
  number: 9,
  name: 'MKDIR',
  encodeArguments(writer, args) {
    encodeDirectoryName(writer, args.where);
    encodeSattr3(writer, args.attributes);
  },
  decodeArguments: (reader) => ({ where: decodeDirectoryName(reader), attributes: decodeSattr3(reader) }),
  encodeResult: encodeMakeResult,
  decodeResult: decodeMakeResult,
};

export interface SymlinkArguments {
  readonly where: DirectoryName;
  readonly attributes: Sattr3;
  readonly target: Uint8Array;
}

export const SYMLINK: Procedure<SymlinkArguments, MakeResult> = {
  program: NFS_PROGRAM,
  number: 10,
  name: 'SYMLINK',
  encodeArguments(writer, args) {
    encodeDirectoryName(writer, args.where);
    encodeSattr3(writer, args.attributes);
    writer.opaque(args.target);
  },
  decodeArguments: (reader) => ({
    where: decodeDirectoryName(reader),
    attributes: decodeSattr3(reader),
    target: reader.opaque(MAX_PATH, 'link text'),
  }),
  encodeResult: encodeMakeResult,
  decodeResult: decodeMakeResult,
};

/** mknoddata3. The types REG, DIR and LNK carry nothing, and servers answer them with NFS3ERR_BADTYPE. */
export type MknodWhat =
  | {
      readonly type: typeof FileType.CHR | typeof FileType.BLK;
      readonly attributes: Sattr3;
      readonly rdevMajor: number;
      readonly rdevMinor: number;
    }
  | { readonly type: typeof FileType.SOCK | typeof FileType.FIFO; readonly attributes: Sattr3 }
  | { readonly type: typeof FileType.REG | typeof FileType.DIR | typeof FileType.LNK };

export interface MknodArguments {
  readonly where: DirectoryName;
  readonly what: MknodWhat;
}

export const MKNOD: Procedure<MknodArguments, MakeResult> = {
  program: NFS_PROGRAM,
  number: 11,
  name: 'MKNOD',
  encodeArguments(writer, { where, what }) {
    encodeDirectoryName(writer, where);
    writer.uint32(what.type);
    if ('attributes' in what) encodeSattr3(writer, what.attributes);
    if ('rdevMajor' in what) {
      writer.uint32(what.rdevMajor);
      writer.uint32(what.rdevMinor);
    }
  },
  decodeArguments(reader) {
    const where = decodeDirectoryName(reader);
    const type = reader.enumeration(FileType.REG, FileType.FIFO, 'file type') as FileType;
    switch (type) {
      case FileType.CHR:
      case FileType.BLK: {
        const attributes = decodeSattr3(reader);
        return { where, what: { type, attributes, rdevMajor: reader.uint32(), rdevMinor: reader.uint32() } };
      }
      case FileType.SOCK:
      case FileType.FIFO:
        return { where, what: { type, attributes: decodeSattr3(reader) } };
      default:
        return { where, what: { type } };
    }
  },
  encodeResult: encodeMakeResult,
  decodeResult: decodeMakeResult,
};

/** The result of REMOVE and RMDIR. `wcc` is that of the directory. */
function removal(number: number, name: string): Procedure<DirectoryName, WccResult> {
  return {
    program: NFS_PROGRAM,
    number,
    name,
    encodeArguments: encodeDirectoryName,
    decodeArguments: decodeDirectoryName,
    ...wccResult,
  };
}

export const REMOVE = removal(12, 'REMOVE');
export const RMDIR = removal(13, 'RMDIR');

export interface RenameArguments {
  readonly from: DirectoryName;
  readonly to: DirectoryName;
}

interface RenameWcc {
  readonly fromWcc: WccData;
  readonly toWcc: WccData;
}

export type RenameResult = UniformResult<RenameWcc>;

export const RENAME: Procedure<RenameArguments, RenameResult> = {
  program: NFS_PROGRAM,
  number: 14,
  name: 'RENAME',
  encodeArguments(writer, args) {
    encodeDirectoryName(writer, args.from);
    encodeDirectoryName(writer, args.to);
  },
  decodeArguments: (reader) => ({ from: decodeDirectoryName(reader), to: decodeDirectoryName(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodeWccData(writer, result.fromWcc);
    encodeWccData(writer, result.toWcc);
  },
  decodeResult: (reader) => ({
    status: decodeStatus(reader),
    fromWcc: decodeWccData(reader),
    toWcc: decodeWccData(reader),
  }),
};

export interface LinkArguments {
  readonly file: FileHandle;
  readonly link: DirectoryName;
}

interface LinkWcc {
  readonly attributes: Fattr3 | undefined;
  readonly directoryWcc: WccData;
}

export type LinkResult = UniformResult<LinkWcc>;

export const LINK: Procedure<LinkArguments, LinkResult> = {
  program: NFS_PROGRAM,
  number: 15,
  name: 'LINK',
  encodeArguments(writer, args) {
    encodeFileHandle(writer, args.file);
    encodeDirectoryName(writer, args.link);
  },
  decodeArguments: (reader) => ({ file: decodeFileHandle(reader), link: decodeDirectoryName(reader) }),
  encodeResult(writer, result) {
    writer.uint32(result.status);
    encodePostOpAttributes(writer, result.attributes);
    encodeWccData(writer, result.directoryWcc);
  },
  decodeResult: (reader) => ({
    status: decodeStatus(reader),
    attributes: decodePostOpAttributes(reader),
    directoryWcc: decodeWccData(reader),
  }),
};
