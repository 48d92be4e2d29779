/**
 * The procedures of NLM version 4: numbers and codecs, for client and server. Of those that are answered by a call of their
 * own (*_MSG, *_RES) only GRANTED_MSG and GRANTED_RES are here; shares and FREE_ALL are left out. Nothing here calls or
 * serves the others.
 */
import { nullProcedure, type Procedure, type Program, voidCodec } from '../../rpc/wire/procedure.js';
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import { decodeFileHandle, encodeFileHandle } from '../nfs3/file-handle.js';
import {
  type CancelArguments,
  isLockStatus,
  type LockArguments,
  type LockHolder,
  type LockResult,
  LockStatus,
  MAX_LOCK_NAME,
  type RemoteLock,
  type TestArguments,
  type TestResult,
  type UnlockArguments,
} from './types.js';

export const NLM_PROGRAM: Program = { number: 100021, version: 4, name: 'NLM' };

export const NULL = nullProcedure(NLM_PROGRAM);

/** Says what stands against a lock. It takes none. */
export const TEST: Procedure<TestArguments, TestResult> = {
  program: NLM_PROGRAM,
  number: 1,
  name: 'TEST',
  encodeArguments: encodeTest,
  decodeArguments: decodeTest,
  encodeResult(writer, result) {
    encodeLockResult(writer, result);
    if (result.status === LockStatus.DENIED) encodeHolder(writer, result.holder);
  },
  decodeResult(reader) {
    const { cookie, status } = decodeLockResult(reader);
    return status === LockStatus.DENIED
      ? { cookie, status, holder: decodeHolder(reader) }
      : { cookie, status };
  },
};

export const LOCK = lockProcedure(2, 'LOCK');

/** Gives up a lock that waits. */
export const CANCEL: Procedure<CancelArguments, LockResult> = {
  program: NLM_PROGRAM,
  number: 3,
  name: 'CANCEL',
  encodeArguments: encodeCancel,
  decodeArguments: decodeCancel,
  encodeResult: encodeLockResult,
  decodeResult: decodeLockResult,
};

export const UNLOCK: Procedure<UnlockArguments, LockResult> = {
  program: NLM_PROGRAM,
  number: 4,
  name: 'UNLOCK',
  encodeArguments(writer, { cookie, lock }) {
    encodeName(writer, cookie, 'cookie');
    encodeLock(writer, lock);
  },
  decodeArguments: (reader) => ({ cookie: decodeName(reader, 'cookie'), lock: decodeLock(reader) }),
  encodeResult: encodeLockResult,
  decodeResult: decodeLockResult,
};

/** The server tells a client that a lock which waited is granted. */
export const GRANTED: Procedure<TestArguments, LockResult> = {
  program: NLM_PROGRAM,
  number: 5,
  name: 'GRANTED',
  encodeArguments: encodeTest,
  decodeArguments: decodeTest,
  encodeResult: encodeLockResult,
  decodeResult: decodeLockResult,
};

/**
 * GRANTED as most servers say it: the reply is empty, and the client answers by a {@link GRANTED_RES} with the same cookie,
 * which it calls at the server.
 */
export const GRANTED_MSG: Procedure<TestArguments, undefined> = {
  program: NLM_PROGRAM,
  number: 10,
  name: 'GRANTED_MSG',
  encodeArguments: encodeTest,
  decodeArguments: decodeTest,
  encodeResult: voidCodec.encode,
  decodeResult: voidCodec.decode,
};

export const GRANTED_RES: Procedure<LockResult, undefined> = {
  program: NLM_PROGRAM,
  number: 15,
  name: 'GRANTED_RES',
  encodeArguments: encodeLockResult,
  decodeArguments: decodeLockResult,
  encodeResult: voidCodec.encode,
  decodeResult: voidCodec.decode,
};

/** LOCK by a client that runs no status monitor: the server need not watch for its restarts. */
export const NM_LOCK = lockProcedure(22, 'NM_LOCK');

function lockProcedure(number: number, name: string): Procedure<LockArguments, LockResult> {
  return {
    program: NLM_PROGRAM,
    number,
    name,
    encodeArguments(writer, args) {
      encodeCancel(writer, args);
      writer.bool(args.reclaim);
      writer.int32(args.state);
    },
    decodeArguments: (reader) => ({
      ...decodeCancel(reader),
      reclaim: reader.bool(),
      state: reader.int32(),
    }),
    encodeResult: encodeLockResult,
    decodeResult: decodeLockResult,
  };
}

function encodeTest(writer: XdrWriter, { cookie, exclusive, lock }: TestArguments): void {
  encodeName(writer, cookie, 'cookie');
  writer.bool(exclusive);
  encodeLock(writer, lock);
}

function decodeTest(reader: XdrReader): TestArguments {
  return { cookie: decodeName(reader, 'cookie'), exclusive: reader.bool(), lock: decodeLock(reader) };
}

function encodeCancel(writer: XdrWriter, { cookie, block, exclusive, lock }: CancelArguments): void {
  encodeName(writer, cookie, 'cookie');
  writer.bool(block);
  writer.bool(exclusive);
  encodeLock(writer, lock);
}

function decodeCancel(reader: XdrReader): CancelArguments {
  return {
    cookie: decodeName(reader, 'cookie'),
    block: reader.bool(),
    exclusive: reader.bool(),
    lock: decodeLock(reader),
  };
}

function encodeLockResult(writer: XdrWriter, { cookie, status }: LockResult): void {
  encodeName(writer, cookie, 'cookie');
  writer.uint32(status);
}

function decodeLockResult(reader: XdrReader): LockResult {
  const cookie = decodeName(reader, 'cookie');
  const status = reader.uint32();
  if (!isLockStatus(status)) throw new XdrError(`nlm4_stats is ${status}`);
  return { cookie, status };
}

function encodeLock(writer: XdrWriter, lock: RemoteLock): void {
  encodeName(writer, lock.callerName, 'name of the caller');
  encodeFileHandle(writer, lock.handle);
  encodeName(writer, lock.ownerHandle, 'owner handle');
  writer.int32(lock.svid);
  writer.uint64(lock.offset);
  writer.uint64(lock.length);
}

function decodeLock(reader: XdrReader): RemoteLock {
  return {
    callerName: decodeName(reader, 'name of the caller'),
    handle: decodeFileHandle(reader),
    ownerHandle: decodeName(reader, 'owner handle'),
    svid: reader.int32(),
    offset: reader.uint64(),
    length: reader.uint64(),
  };
}

function encodeHolder(writer: XdrWriter, holder: LockHolder): void {
  writer.bool(holder.exclusive);
  writer.int32(holder.svid);
  encodeName(writer, holder.ownerHandle, 'owner handle');
  writer.uint64(holder.offset);
  writer.uint64(holder.length);
}

function decodeHolder(reader: XdrReader): LockHolder {
  return {
    exclusive: reader.bool(),
    svid: reader.int32(),
    ownerHandle: decodeName(reader, 'owner handle'),
    offset: reader.uint64(),
    length: reader.uint64(),
  };
}

function encodeName(writer: XdrWriter, bytes: string, name: string): void {
  if (bytes.length > MAX_LOCK_NAME) {
    throw new XdrError(`${name} is ${bytes.length} bytes long; NLM allows ${MAX_LOCK_NAME}`);
  }
  writer.opaqueFromLatin1(bytes);
}

function decodeName(reader: XdrReader, name: string): string {
  return reader.opaqueAsLatin1(MAX_LOCK_NAME, name);
}
