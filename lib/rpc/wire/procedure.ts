/** A remote procedure as the RPC layer sees it: numbers and codecs, written once for client and server. */
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';

export interface Program {
  readonly number: number;
  readonly version: number;
  /** For messages: "NFS", "MOUNT". */
  readonly name: string;
}

export interface Procedure<Arguments, Result> {
  readonly program: Program;
  readonly number: number;
  /** As the RFC spells it: "LOOKUP". */
  readonly name: string;
  encodeArguments(writer: XdrWriter, args: Arguments): void;
  /** Throws XdrError for what the protocol does not allow. */
  decodeArguments(reader: XdrReader): Arguments;
  encodeResult(writer: XdrWriter, result: Result): void;
  /** Throws XdrError for what the protocol does not allow. */
  decodeResult(reader: XdrReader): Result;
}

/** Codec of a procedure without arguments or without a result. */
export const voidCodec = {
  encode(): void {},
  decode(): undefined {
    return undefined;
  },
} as const;

/** Procedure 0 of every program: it takes nothing, does nothing and returns nothing (RFC 5531 section 12.1). */
export function nullProcedure(program: Program): Procedure<undefined, undefined> {
  return {
    program,
    number: 0,
    name: 'NULL',
    encodeArguments: voidCodec.encode,
    decodeArguments: voidCodec.decode,
    encodeResult: voidCodec.encode,
    decodeResult: voidCodec.decode,
  };
}
