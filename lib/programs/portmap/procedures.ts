/** The procedures of portmap version 2 and of rpcbind 3 and 4 that a client or a server of ours needs. */
import { type Procedure, type Program, voidCodec } from '../../rpc/wire/procedure.js';
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { type Mapping, PORTMAP_V2, RPCBIND_V3, RPCBIND_V4, type RpcbEntry } from './types.js';

/** The most registrations in one DUMP. */
const MAX_REGISTRATIONS = 4096;
/** The most bytes of a netid, an owner or a universal address. */
const MAX_TEXT = 255;

const noArguments = { encodeArguments: voidCodec.encode, decodeArguments: voidCodec.decode };
const noResult = { encodeResult: voidCodec.encode, decodeResult: voidCodec.decode };
const mappingArgument = { encodeArguments: encodeMapping, decodeArguments: decodeMapping };
const entryArgument = { encodeArguments: encodeEntry, decodeArguments: decodeEntry };
const booleanResult = {
  encodeResult: (writer: XdrWriter, done: boolean): void => writer.bool(done),
  decodeResult: (reader: XdrReader): boolean => reader.bool(),
};

export const NULL: Procedure<undefined, undefined> = {
  program: PORTMAP_V2,
  number: 0,
  name: 'NULL',
  ...noArguments,
  ...noResult,
};

/** Registers a mapping. False: there is another one already. */
export const SET: Procedure<Mapping, boolean> = {
  program: PORTMAP_V2,
  number: 1,
  name: 'SET',
  ...mappingArgument,
  ...booleanResult,
};

/** Removes the mappings of a program and version; protocol and port are ignored. */
export const UNSET: Procedure<Mapping, boolean> = {
  program: PORTMAP_V2,
  number: 2,
  name: 'UNSET',
  ...mappingArgument,
  ...booleanResult,
};

/** The port of a program, 0 when it is not registered. The argument's own port is ignored. */
export const GETPORT: Procedure<Mapping, number> = {
  program: PORTMAP_V2,
  number: 3,
  name: 'GETPORT',
  ...mappingArgument,
  encodeResult: (writer, port) => writer.uint32(port),
  decodeResult(reader) {
    const port = reader.uint32();
    if (port > 65535) throw new XdrError(`port is ${port}`);
    return port;
  },
};

export const DUMP: Procedure<undefined, readonly Mapping[]> = {
  program: PORTMAP_V2,
  number: 4,
  name: 'DUMP',
  ...noArguments,
  encodeResult: (writer, mappings) => encodeList(writer, mappings, encodeMapping),
  decodeResult: (reader) => decodeList(reader, decodeMapping),
};

/** The universal address of a program, empty when it is not registered. */
export const GETADDR_V3 = getAddr(RPCBIND_V3);
export const GETADDR_V4 = getAddr(RPCBIND_V4);

function getAddr(program: Program): Procedure<RpcbEntry, string> {
  return {
    program,
    number: 3,
    name: 'GETADDR',
    ...entryArgument,
    encodeResult: encodeText,
    decodeResult: (reader) => decodeText(reader, 'universal address'),
  };
}

/** Registers an entry. False: the program has another address over this transport already, or the caller may not. */
export const SET_V4: Procedure<RpcbEntry, boolean> = {
  program: RPCBIND_V4,
  number: 1,
  name: 'SET',
  ...entryArgument,
  ...booleanResult,
};

/** Removes the registration of a program and version over one transport (`netid`); its address is ignored. */
export const UNSET_V4: Procedure<RpcbEntry, boolean> = {
  program: RPCBIND_V4,
  number: 2,
  name: 'UNSET',
  ...entryArgument,
  ...booleanResult,
};

export const DUMP_V4: Procedure<undefined, readonly RpcbEntry[]> = {
  program: RPCBIND_V4,
  number: 4,
  name: 'DUMP',
  ...noArguments,
  encodeResult: (writer, entries) => encodeList(writer, entries, encodeEntry),
  decodeResult: (reader) => decodeList(reader, decodeEntry),
};

function encodeMapping(writer: XdrWriter, mapping: Mapping): void {
  writer.uint32(mapping.program);
  writer.uint32(mapping.version);
  writer.uint32(mapping.protocol);
  writer.uint32(mapping.port);
}

function decodeMapping(reader: XdrReader): Mapping {
  return {
    program: reader.uint32(),
    version: reader.uint32(),
    protocol: reader.uint32(),
    port: reader.uint32(),
  };
}

function encodeEntry(writer: XdrWriter, entry: RpcbEntry): void {
  writer.uint32(entry.program);
  writer.uint32(entry.version);
  for (const text of [entry.netid, entry.address, entry.owner]) encodeText(writer, text);
}

function decodeEntry(reader: XdrReader): RpcbEntry {
  return {
    program: reader.uint32(),
    version: reader.uint32(),
    netid: decodeText(reader, 'netid'),
    address: decodeText(reader, 'universal address'),
    owner: decodeText(reader, 'owner'),
  };
}

/** A list in which a word of 1 goes before each item, and a 0 ends it. */
function encodeList<Item>(
  writer: XdrWriter,
  items: readonly Item[],
  encode: (writer: XdrWriter, item: Item) => void,
): void {
  for (const item of items) {
    writer.bool(true);
    encode(writer, item);
  }
  writer.bool(false);
}

function decodeList<Item>(reader: XdrReader, decode: (reader: XdrReader) => Item): Item[] {
  const items: Item[] = [];
  while (reader.bool()) {
    if (items.length === MAX_REGISTRATIONS)
      throw new XdrError(`more than ${MAX_REGISTRATIONS} registrations`);
    items.push(decode(reader));
  }
  return items;
}

function encodeText(writer: XdrWriter, text: string): void {
  writer.opaque(Buffer.from(text, 'latin1'));
}

function decodeText(reader: XdrReader, name: string): string {
  return reader.opaqueAsLatin1(MAX_TEXT, name);
}
