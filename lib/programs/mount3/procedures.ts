/** The MOUNT version 3 procedures (RFC 1813 5.2): numbers and codecs, for client and server. */

import { type Procedure, type Program, voidCodec } from '../../rpc/wire/procedure.js';
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { decodeFileHandle, encodeFileHandle } from '../nfs3/file-handle.js';
import {
  type ExportEntry,
  isMountStatus,
  MNTNAMLEN,
  MNTPATHLEN,
  type MountListEntry,
  type MountResult,
  MountStatus,
} from './types.js';

export const MOUNT_PROGRAM: Program = { number: 100005, version: 3, name: 'MOUNT' };

/** The most flavors in one grant. Real servers offer a few. */
const MAX_FLAVORS = 256;
/** The most entries in one list, counted together with the groups of all exports. */
const MAX_ENTRIES = 65536;

const noArguments = { encodeArguments: voidCodec.encode, decodeArguments: voidCodec.decode };
const noResult = { encodeResult: voidCodec.encode, decodeResult: voidCodec.decode };
const pathArgument = {
  encodeArguments(writer: XdrWriter, path: Uint8Array): void {
    if (path.length > MNTPATHLEN) {
      throw new XdrError(`path is ${path.length} bytes long; MOUNT allows ${MNTPATHLEN}`);
    }
    writer.opaque(path);
  },
  decodeArguments: (reader: XdrReader): Uint8Array => reader.opaque(MNTPATHLEN, 'path'),
};

export const NULL: Procedure<undefined, undefined> = {
  program: MOUNT_PROGRAM,
  number: 0,
  name: 'NULL',
  ...noArguments,
  ...noResult,
};

export const MNT: Procedure<Uint8Array, MountResult> = {
  program: MOUNT_PROGRAM,
  number: 1,
  name: 'MNT',
  ...pathArgument,
  encodeResult(writer, result) {
    writer.uint32(result.status);
    if (result.status !== MountStatus.OK) return;
    encodeFileHandle(writer, result.grant.handle);
    writer.uint32(result.grant.flavors.length);
    for (const flavor of result.grant.flavors) writer.uint32(flavor);
  },
  decodeResult(reader) {
    const status = reader.uint32();
    if (!isMountStatus(status)) throw new XdrError(`mountstat3 is ${status}`);
    if (status !== MountStatus.OK) return { status };
    const handle = decodeFileHandle(reader);
    const count = reader.count(MAX_FLAVORS, 'auth_flavors');
    const flavors = Array.from({ length: count }, () => reader.uint32());
    return { status, grant: { handle, flavors } };
  },
};

export const DUMP: Procedure<undefined, readonly MountListEntry[]> = {
  program: MOUNT_PROGRAM,
  number: 2,
  name: 'DUMP',
  ...noArguments,
  encodeResult(writer, entries) {
    for (const { hostname, directory } of entries) {
      writer.bool(true);
      writer.opaque(hostname);
      writer.opaque(directory);
    }
    writer.bool(false);
  },
  decodeResult(reader) {
    const entries: MountListEntry[] = [];
    const bound = new ListBound('mount list');
    while (bound.more(reader)) {
      const hostname = copy(reader.opaque(MNTNAMLEN, 'host name'));
      entries.push({ hostname, directory: copy(reader.opaque(MNTPATHLEN, 'path')) });
    }
    return entries;
  },
};

export const UMNT: Procedure<Uint8Array, undefined> = {
  program: MOUNT_PROGRAM,
  number: 3,
  name: 'UMNT',
  ...pathArgument,
  ...noResult,
};

export const UMNTALL: Procedure<undefined, undefined> = {
  program: MOUNT_PROGRAM,
  number: 4,
  name: 'UMNTALL',
  ...noArguments,
  ...noResult,
};

export const EXPORT: Procedure<undefined, readonly ExportEntry[]> = {
  program: MOUNT_PROGRAM,
  number: 5,
  name: 'EXPORT',
  ...noArguments,
  encodeResult(writer, entries) {
    for (const { directory, groups } of entries) {
      writer.bool(true);
      writer.opaque(directory);
      for (const group of groups) {
        writer.bool(true);
        writer.opaque(group);
      }
      writer.bool(false);
    }
    writer.bool(false);
  },
  decodeResult(reader) {
    const entries: ExportEntry[] = [];
    const bound = new ListBound('export list');
    while (bound.more(reader)) {
      const directory = copy(reader.opaque(MNTPATHLEN, 'path'));
      const groups: Buffer[] = [];
      while (bound.more(reader)) groups.push(copy(reader.opaque(MNTNAMLEN, 'group')));
      entries.push({ directory, groups });
    }
    return entries;
  },
};

/** Bounds a list. It is a chain in which a boolean says whether another entry follows, so only a count can bound it. */
class ListBound {
  #entries = 0;
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  more(reader: XdrReader): boolean {
    if (!reader.bool()) return false;
    this.#entries += 1;
    if (this.#entries > MAX_ENTRIES) throw new XdrError(`${this.#name} has more than ${MAX_ENTRIES} entries`);
    return true;
  }
}

/** A copy of the bytes, since lists are kept: a slice would keep the whole reply in memory. */
function copy(bytes: Buffer): Buffer {
  return Buffer.from(bytes);
}
