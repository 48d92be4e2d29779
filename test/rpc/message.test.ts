/** RPC headers and credentials, written and read back by both halves. */
import t from 'tap';
import { AUTH_NONE } from '../../lib/rpc/auth/auth-none.js';
import { type AuthSys, authSysCredential, decodeAuthSys } from '../../lib/rpc/auth/auth-sys.js';
import { authStatName, RpcError } from '../../lib/rpc/rpc-errors.js';
import {
  AcceptStat,
  decodeCallHeader,
  decodeReplyBody,
  encodeAcceptedHeader,
  encodeCallHeader,
  encodeFailure,
  type ReplyFailure,
  replyError,
} from '../../lib/rpc/wire/message.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../lib/xdr/xdr-writer.js';
import { ANONYMOUS, TEST_PROGRAM } from './support/procedures.js';
import { words } from './support/wire-server.js';

const AUTH: AuthSys = { machineName: 'host', uid: 0xffff_fffe, gid: 100, groups: [1, 2, 3] };

t.test('a call header comes back from its codec unchanged', async (t) => {
  const writer = new XdrWriter();
  const credential = authSysCredential(AUTH);
  encodeCallHeader(writer, 0xfedc_ba98, TEST_PROGRAM, 7, { credential });
  writer.uint32(99);
  const reader = new XdrReader(writer.toBuffer());
  t.match(decodeCallHeader(reader), {
    xid: 0xfedc_ba98 | 0,
    rpcVersion: 2,
    call: { program: TEST_PROGRAM.number, version: 1, procedure: 7, flavor: 1, credential: credential.body },
  });
  t.equal(reader.uint32(), 99, 'the arguments follow');
});

t.test('a call of another RPC version has no more than an XID', async (t) => {
  t.same(decodeCallHeader(new XdrReader(words(5, 0, 3))), { xid: 5, rpcVersion: 'other' });
});

t.test('a truncated call header, or a message that is no call, throws XdrError', async (t) => {
  const writer = new XdrWriter();
  encodeCallHeader(writer, 1, TEST_PROGRAM, 7, { credential: AUTH_NONE });
  const bytes = writer.toBuffer();
  for (let length = 0; length < bytes.length; length++) {
    t.throws(() => decodeCallHeader(new XdrReader(bytes.subarray(0, length))), XdrError, `cut at ${length}`);
  }
  t.throws(() => decodeCallHeader(new XdrReader(words(1, 1, 2))), XdrError, 'a reply');
  t.throws(() => decodeCallHeader(new XdrReader(words(1, 2, 2))), XdrError, 'neither');
});

t.test('credential and verifier of a call are at most 400 bytes long', async (t) => {
  const call = (credential: number, verifier: number): Buffer =>
    Buffer.concat([
      words(1, 0, 2, 3, 4, 5, 9, credential),
      Buffer.alloc((credential + 3) & ~3),
      words(9, verifier),
      Buffer.alloc((verifier + 3) & ~3),
    ]);
  t.equal(decodeCallHeader(new XdrReader(call(400, 400))).rpcVersion, 2);
  t.throws(() => decodeCallHeader(new XdrReader(call(401, 0))), /credential is 401 bytes/);
  t.throws(() => decodeCallHeader(new XdrReader(call(0, 401))), /verifier is 401 bytes/);
});

t.test('every failure comes back from its codec unchanged, and its error has the right name', async (t) => {
  const unaccepted = (stat: AcceptStat): ReplyFailure => ({ kind: 'unaccepted', stat, low: 0, high: 0 });
  const failures: readonly (readonly [ReplyFailure, string])[] = [
    [unaccepted(AcceptStat.PROG_UNAVAIL), 'RpcProgramUnavailableError'],
    [{ kind: 'unaccepted', stat: AcceptStat.PROG_MISMATCH, low: 2, high: 9 }, 'RpcProgramMismatchError'],
    [unaccepted(AcceptStat.PROC_UNAVAIL), 'RpcProcedureUnavailableError'],
    [unaccepted(AcceptStat.GARBAGE_ARGS), 'RpcGarbageArgumentsError'],
    [unaccepted(AcceptStat.SYSTEM_ERR), 'RpcSystemError'],
    [{ kind: 'rpc-mismatch', low: 3, high: 4 }, 'RpcVersionMismatchError'],
    [{ kind: 'auth-error', authStat: 14 }, 'RpcAuthError'],
  ];
  for (const [failure, name] of failures) {
    const writer = new XdrWriter();
    encodeFailure(writer, 0x8000_0001, failure);
    const reader = new XdrReader(writer.toBuffer());
    t.equal(reader.uint32(), 0x8000_0001);
    t.equal(reader.uint32(), 1);
    t.same(decodeReplyBody(reader, ANONYMOUS), failure);
    reader.expectEnd();
    const error = replyError(failure, 'NFS READ on host');
    t.ok(error instanceof RpcError);
    t.equal(error.name, name);
    t.match(error.message, /^NFS READ on host: the server /);
  }
});

t.test('a successful header leaves the reader at the result', async (t) => {
  const writer = new XdrWriter();
  encodeAcceptedHeader(writer, 1, AcceptStat.SUCCESS);
  writer.uint32(77);
  const reader = new XdrReader(writer.toBuffer(), 8);
  t.equal(decodeReplyBody(reader, ANONYMOUS), undefined);
  t.equal(reader.uint32(), 77);
});

t.test('a verifier is skipped with its padding', async (t) => {
  for (let length = 0; length <= 400; length += 133) {
    const bytes = Buffer.concat([words(0, 2, length), Buffer.alloc((length + 3) & ~3, 0xff), words(0, 55)]);
    const reader = new XdrReader(bytes);
    t.equal(decodeReplyBody(reader, ANONYMOUS), undefined);
    t.equal(reader.uint32(), 55);
  }
});

t.test('auth_stat has the names of the RFC', async (t) => {
  t.equal(authStatName(1), 'AUTH_BADCRED');
  t.equal(authStatName(5), 'AUTH_TOOWEAK');
  t.equal(authStatName(13), 'RPCSEC_GSS_CREDPROBLEM');
  t.equal(authStatName(77), 'auth_stat 77');
});

t.test('an AUTH_SYS credential comes back from its codec unchanged', async (t) => {
  const credential = authSysCredential(AUTH);
  t.equal(credential.flavor, 1);
  t.same(decodeAuthSys(Buffer.from(credential.body)), AUTH);
});

t.test('AUTH_SYS sends the first 16 groups and 255 bytes of the machine name', async (t) => {
  const groups = Array.from({ length: 40 }, (_, index) => index + 1000);
  const { body } = authSysCredential({ ...AUTH, machineName: 'm'.repeat(300), groups });
  const read = decodeAuthSys(Buffer.from(body));
  t.same(read.groups, groups.slice(0, 16));
  t.equal(read.machineName, 'm'.repeat(255));
});

t.test('a malformed AUTH_SYS credential throws XdrError', async (t) => {
  const body = Buffer.from(authSysCredential(AUTH).body);
  for (let length = 0; length < body.length; length++) {
    t.throws(() => decodeAuthSys(body.subarray(0, length)), XdrError, `cut at ${length}`);
  }
  t.throws(() => decodeAuthSys(Buffer.concat([body, Buffer.alloc(4)])), XdrError, 'too long');
  t.throws(() => decodeAuthSys(Buffer.alloc(404)), XdrError, 'longer than any credential');
  t.throws(() => decodeAuthSys(Buffer.concat([words(0, 256), Buffer.alloc(272)])), /machine name is 256/);
  t.throws(() => decodeAuthSys(Buffer.concat([words(0, 0, 1, 1, 17), Buffer.alloc(68)])), /groups has 17/);
});
