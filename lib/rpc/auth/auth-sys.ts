/** AUTH_SYS (RFC 5531 appendix A): the caller names its user and groups, and the server believes it. */
import { XdrError } from '../../xdr/xdr-error.js';
import { XdrReader } from '../../xdr/xdr-reader.js';
import { XdrWriter } from '../../xdr/xdr-writer.js';
import { AuthFlavor, type Credential, MAX_AUTH_BYTES } from './credential.js';
import { unprotectedCredential } from './unprotected.js';

/** AUTH_SYS carries no more supplementary groups than this; servers refuse a longer list. */
export const MAX_AUTH_SYS_GROUPS = 16;
const MAX_MACHINE_NAME = 255;

/** An identity on the server. */
export interface AuthSys {
  readonly machineName: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** A credential for `auth`, with stamp 0 as Linux sends it. Groups beyond 16 are left out. */
export function authSysCredential(auth: AuthSys): Credential {
  const writer = new XdrWriter(128);
  writer.uint32(0);
  writer.opaque(Buffer.from(auth.machineName).subarray(0, MAX_MACHINE_NAME));
  writer.uint32(auth.uid);
  writer.uint32(auth.gid);
  const groups = auth.groups.slice(0, MAX_AUTH_SYS_GROUPS);
  writer.uint32(groups.length);
  for (const group of groups) writer.uint32(group);
  return unprotectedCredential(AuthFlavor.SYS, writer.toBuffer());
}

/** The server's half: reads the body of a credential. Throws XdrError for one that is not AUTH_SYS. */
export function decodeAuthSys(body: Buffer): AuthSys {
  if (body.length > MAX_AUTH_BYTES) throw new XdrError(`credential is ${body.length} bytes long`);
  const reader = new XdrReader(body);
  reader.uint32();
  const machineName = reader.opaque(MAX_MACHINE_NAME, 'machine name').toString('utf8');
  const uid = reader.uint32();
  const gid = reader.uint32();
  const count = reader.count(MAX_AUTH_SYS_GROUPS, 'groups');
  const groups = Array.from({ length: count }, () => reader.uint32());
  reader.expectEnd();
  return { machineName, uid, gid, groups };
}
