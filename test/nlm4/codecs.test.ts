/** The codecs of NLM: what one half writes the other reads back, as the specification lays it out, and nothing else. */
import t from 'tap';
import { fileHandleFromBytes } from '../../lib/programs/nfs3/index.js';
import {
  isLockStatus,
  LockStatus,
  lockStatusName,
  MAX_LOCK_NAME,
  NLM_PROGRAM,
  lockProcedures as nlm,
  type RemoteLock,
} from '../../lib/programs/nlm4/index.js';
import type { Procedure } from '../../lib/rpc/wire/procedure.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { readsBack, written } from '../nfs3/support/round-trips.js';
import { lockCases } from './support/lock-cases.js';

const LOCK: RemoteLock = {
  callerName: 'pc',
  handle: fileHandleFromBytes(Buffer.from('abcde')),
  ownerHandle: '\xff',
  svid: -2,
  offset: 2n ** 63n,
  length: 2n ** 64n - 1n,
};

function argumentBytes<Arguments>(procedure: Procedure<Arguments, unknown>, args: Arguments): Buffer {
  return written((writer) => procedure.encodeArguments(writer, args));
}

t.test('the procedures have the numbers of the specification', async (t) => {
  t.same(
    lockCases.map(({ procedure: { name, number } }) => `${number} ${name}`),
    [
      '0 NULL',
      '1 TEST',
      '2 LOCK',
      '3 CANCEL',
      '4 UNLOCK',
      '5 GRANTED',
      '10 GRANTED_MSG',
      '15 GRANTED_RES',
      '22 NM_LOCK',
    ],
  );
  for (const { procedure } of lockCases) t.equal(procedure.program, NLM_PROGRAM);
  t.match(NLM_PROGRAM, { number: 100021, version: 4 });
});

t.test('whatever is written is read back the same, to the last byte, and nothing shorter', async (t) => {
  readsBack(t, lockCases);
});

t.test('arguments are laid out as the specification has them', async (t) => {
  const lock =
    '00000002 70630000 00000005 6162636465000000 00000001 ff000000 fffffffe 8000000000000000 ffffffffffffffff';
  const cookie = '00000003 78797a00';
  const hex = (...parts: string[]): string => parts.join('').replaceAll(' ', '');
  const full = { cookie: 'xyz', block: true, exclusive: false, lock: LOCK, reclaim: true, state: -1 };
  const test = hex(cookie, '00000000', lock);
  const cancel = hex(cookie, '00000001', '00000000', lock);
  const take = hex(cancel, '00000001', 'ffffffff');
  t.equal(argumentBytes(nlm.TEST, full).toString('hex'), test);
  t.equal(argumentBytes(nlm.GRANTED, full).toString('hex'), test);
  t.equal(argumentBytes(nlm.GRANTED_MSG, full).toString('hex'), test);
  const refused = { cookie: 'xyz', status: LockStatus.DENIED };
  t.equal(argumentBytes(nlm.GRANTED_RES, refused).toString('hex'), hex(cookie, '00000001'));
  t.equal(argumentBytes(nlm.CANCEL, full).toString('hex'), cancel);
  t.equal(argumentBytes(nlm.UNLOCK, full).toString('hex'), hex(cookie, lock));
  for (const procedure of [nlm.LOCK, nlm.NM_LOCK]) {
    t.equal(argumentBytes(procedure, full).toString('hex'), take, procedure.name);
  }
  const holder = { exclusive: true, svid: 7, ownerHandle: 'o', offset: 1n, length: 0n };
  const denied = { cookie: '', status: LockStatus.DENIED, holder };
  t.equal(
    written((writer) => nlm.TEST.encodeResult(writer, denied)).toString('hex'),
    hex('00000000 00000001', '00000001 00000007 00000001 6f000000 0000000000000001 0000000000000000'),
  );
});

t.test('names longer than 1024 bytes are neither written nor read', async (t) => {
  const long = 'x'.repeat(MAX_LOCK_NAME + 1);
  const exact = 'x'.repeat(MAX_LOCK_NAME);
  const base = { cookie: '', lock: LOCK };
  const variants = [
    { name: 'cookie', make: (text: string) => ({ ...base, cookie: text }) },
    {
      name: 'name of the caller',
      make: (text: string) => ({ ...base, lock: { ...LOCK, callerName: text } }),
    },
    { name: 'owner handle', make: (text: string) => ({ ...base, lock: { ...LOCK, ownerHandle: text } }) },
  ];
  for (const { name, make } of variants) {
    t.throws(() => argumentBytes(nlm.UNLOCK, make(long)), {
      message: `${name} is 1025 bytes long; NLM allows 1024`,
    });
    const bytes = argumentBytes(nlm.UNLOCK, make(exact));
    t.strictSame(nlm.UNLOCK.decodeArguments(new XdrReader(bytes)), make(exact));
    // The length says one more, and the padding has room for it.
    const at = bytes.indexOf(Buffer.from('00000400', 'hex'));
    bytes.writeUInt32BE(MAX_LOCK_NAME + 1, at);
    const longer = Buffer.concat([bytes, Buffer.alloc(8)]);
    t.throws(() => nlm.UNLOCK.decodeArguments(new XdrReader(longer)), XdrError);
  }
  const handle = argumentBytes(nlm.UNLOCK, base);
  handle.writeUInt32BE(65, handle.indexOf(Buffer.from('00000005', 'hex')));
  t.throws(
    () => nlm.UNLOCK.decodeArguments(new XdrReader(Buffer.concat([handle, Buffer.alloc(99)]))),
    /file handle is 65 bytes long/,
  );
});

t.test('only the statuses of the specification are read', async (t) => {
  const reply = (status: number) => new XdrReader(Buffer.from([0, 0, 0, 0, 0, 0, 0, status]));
  for (const status of Object.values(LockStatus))
    t.equal(nlm.LOCK.decodeResult(reply(status)).status, status);
  t.throws(() => nlm.LOCK.decodeResult(reply(10)), { message: 'nlm4_stats is 10' });
  t.notOk(isLockStatus(10));
  t.equal(lockStatusName(LockStatus.DENIED_NOLOCKS), 'NLM4_DENIED_NOLOCKS');
});
