/**
 * The procedures of rquota that read quotas: numbers and codecs, for client and server. Those that set quotas are left out:
 * servers refuse them as a rule.
 */
import { nullProcedure, type Procedure, type Program } from '../../rpc/wire/procedure.js';
import { XdrError } from '../../xdr/xdr-error.js';
import type { XdrReader } from '../../xdr/xdr-reader.js';
import type { XdrWriter } from '../../xdr/xdr-writer.js';
import {
  MAX_QUOTA_PATH,
  type QuotaArguments,
  QuotaOwner,
  type QuotaResult,
  QuotaStatus,
  type UserQuotaArguments,
} from './types.js';

/** Quotas of users. */
export const RQUOTA_V1: Program = { number: 100011, version: 1, name: 'RQUOTA' };
/** Quotas of users and groups. */
export const RQUOTA_V2: Program = { number: 100011, version: 2, name: 'RQUOTA' };

const userArguments = { encodeArguments: encodeUser, decodeArguments: decodeUser };
const ownerArguments = { encodeArguments: encodeOwner, decodeArguments: decodeOwner };
const quotaResult = { encodeResult, decodeResult };

export const NULL_V1 = nullProcedure(RQUOTA_V1);
export const NULL_V2 = nullProcedure(RQUOTA_V2);

/** A quota, whether it is enforced or not. */
export const GETQUOTA_V1: Procedure<UserQuotaArguments, QuotaResult> = {
  program: RQUOTA_V1,
  number: 1,
  name: 'GETQUOTA',
  ...userArguments,
  ...quotaResult,
};

/** The same, NOQUOTA for one that is not enforced. nfs-ganesha answers without a result. */
export const GETACTIVEQUOTA_V1: Procedure<UserQuotaArguments, QuotaResult> = {
  program: RQUOTA_V1,
  number: 2,
  name: 'GETACTIVEQUOTA',
  ...userArguments,
  ...quotaResult,
};

/** As GETQUOTA_V1, also of a group. */
export const GETQUOTA_V2: Procedure<QuotaArguments, QuotaResult> = {
  program: RQUOTA_V2,
  number: 1,
  name: 'GETQUOTA',
  ...ownerArguments,
  ...quotaResult,
};

/** As GETACTIVEQUOTA_V1, also of a group. */
export const GETACTIVEQUOTA_V2: Procedure<QuotaArguments, QuotaResult> = {
  program: RQUOTA_V2,
  number: 2,
  name: 'GETACTIVEQUOTA',
  ...ownerArguments,
  ...quotaResult,
};

function encodePath(writer: XdrWriter, path: Uint8Array): void {
  if (path.length > MAX_QUOTA_PATH)
    throw new XdrError(`path is ${path.length} bytes long; rquota allows ${MAX_QUOTA_PATH}`);
  writer.opaque(path);
}

function decodePath(reader: XdrReader): Uint8Array {
  return reader.opaque(MAX_QUOTA_PATH, 'path');
}

function encodeUser(writer: XdrWriter, { path, uid }: UserQuotaArguments): void {
  encodePath(writer, path);
  writer.uint32(uid);
}

function decodeUser(reader: XdrReader): UserQuotaArguments {
  return { path: decodePath(reader), uid: reader.uint32() };
}

function encodeOwner(writer: XdrWriter, { path, owner, id }: QuotaArguments): void {
  encodePath(writer, path);
  writer.uint32(owner);
  writer.uint32(id);
}

function decodeOwner(reader: XdrReader): QuotaArguments {
  const path = decodePath(reader);
  const isGroup = reader.enumeration(QuotaOwner.USER, QuotaOwner.GROUP, 'gqa_type') === QuotaOwner.GROUP;
  return { path, owner: isGroup ? QuotaOwner.GROUP : QuotaOwner.USER, id: reader.uint32() };
}

function encodeResult(writer: XdrWriter, result: QuotaResult): void {
  writer.uint32(result.status);
  if (result.status !== QuotaStatus.OK) return;
  const { blockSize, active, blocks, files } = result.quota;
  writer.uint32(blockSize);
  writer.bool(active);
  for (const { hardLimit, softLimit, used } of [blocks, files]) {
    writer.uint32(hardLimit);
    writer.uint32(softLimit);
    writer.uint32(used);
  }
  for (const { timeLeft } of [blocks, files]) writer.int32(timeLeft);
}

function decodeResult(reader: XdrReader): QuotaResult {
  const status = reader.uint32();
  if (status === QuotaStatus.NOQUOTA || status === QuotaStatus.EPERM) return { status };
  if (status !== QuotaStatus.OK) throw new XdrError(`gqr_status is ${status}`);
  const blockSize = reader.int32();
  if (blockSize < 1) throw new XdrError(`a block has ${blockSize} bytes`);
  const active = reader.bool();
  const [blocks, files] = [decodeUse(reader), decodeUse(reader)];
  const [blockTime, fileTime] = [reader.int32(), reader.int32()];
  return {
    status,
    quota: {
      blockSize,
      active,
      blocks: { ...blocks, timeLeft: blockTime },
      files: { ...files, timeLeft: fileTime },
    },
  };
}

function decodeUse(reader: XdrReader) {
  const [hardLimit, softLimit, used] = [reader.uint32(), reader.uint32(), reader.uint32()];
  return { used, softLimit, hardLimit };
}
