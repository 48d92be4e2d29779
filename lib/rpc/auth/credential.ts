/** Credentials of a call: AUTH_NONE and AUTH_SYS (RFC 5531 8.2 and appendix A). */
import { XdrError } from '../../xdr/xdr-error.js';
import { XdrReader } from '../../xdr/xdr-reader.js';
import { XdrWriter } from '../../xdr/xdr-writer.js';

export const AuthFlavor = { NONE: 0, SYS: 1, SHORT: 2, DH: 3, RPCSEC_GSS: 6 } as const;

/** An opaque_auth is at most this long (RFC 5531 8.2). */
export const MAX_AUTH_BYTES = 400;
/** AUTH_SYS carries no more supplementary groups than this; a longer list is refused by servers. */
export const MAX_AUTH_SYS_GROUPS = 16;
const MAX_MACHINE_NAME = 255;

/** What goes into the credential field of a call, encoded once and used for many calls. */
export interface Credential {
  readonly flavor: number;
  readonly body: Uint8Array;
}

export interface AuthSys {
  readonly machineName: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

export const AUTH_NONE: Credential = { flavor: AuthFlavor.NONE, body: new Uint8Array(0) };

/** Encodes an AUTH_SYS credential, stamp 0 as Linux sends it. Groups beyond 16 are left out. */
export function authSysCredential(auth: AuthSys): Credential {
  const writer = new XdrWriter(128);
  writer.uint32(0);
  writer.opaque(Buffer.from(auth.machineName).subarray(0, MAX_MACHINE_NAME));
  writer.uint32(auth.uid);
  writer.uint32(auth.gid);
  const groups = auth.groups.slice(0, MAX_AUTH_SYS_GROUPS);
  writer.uint32(groups.length);
  for (const group of groups) writer.uint32(group);
  return { flavor: AuthFlavor.SYS, body: writer.toBuffer() };
}

/** The server's half. Throws XdrError for a body that is not AUTH_SYS. */
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
