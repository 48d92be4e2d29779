/** The codecs of rquota: what one half writes the other reads back, as rquota.x lays it out, and nothing else. */
import t from 'tap';
import {
  QuotaOwner,
  type QuotaResult,
  QuotaStatus,
  quotaProcedures as rquota,
} from '../../lib/programs/rquota/index.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { readsBack, written } from '../nfs3/support/round-trips.js';
import { quotaCases } from './support/quota-cases.js';

const hex = (text: string): string => text.replaceAll(' ', '');
const path = Buffer.from('/home');
const QUOTA: QuotaResult = {
  status: QuotaStatus.OK,
  quota: {
    blockSize: 1024,
    active: true,
    blocks: { hardLimit: 0xffff_ffff, softLimit: 2, used: 3, timeLeft: -1 },
    files: { hardLimit: 4, softLimit: 5, used: 6, timeLeft: 604_800 },
  },
};

t.test('the procedures have the numbers of rquota.x', async (t) => {
  t.same(
    quotaCases.map(
      ({ procedure: { name, number, program } }) => `${program.number} ${program.version} ${number} ${name}`,
    ),
    ['100011 1 1 GETQUOTA', '100011 1 2 GETACTIVEQUOTA', '100011 2 1 GETQUOTA', '100011 2 2 GETACTIVEQUOTA'],
  );
  for (const { number, program } of [rquota.NULL_V1, rquota.NULL_V2])
    t.match({ number, program }, { number: 0 });
});

t.test('whatever is written is read back the same, to the last byte, and nothing shorter', async (t) => {
  readsBack(t, quotaCases);
});

t.test('arguments and results are laid out as rquota.x has them', async (t) => {
  t.equal(
    written((writer) => rquota.GETQUOTA_V1.encodeArguments(writer, { path, uid: 0xffff_fffe })).toString(
      'hex',
    ),
    hex('00000005 2f686f6d65000000 fffffffe'),
  );
  t.equal(
    written((writer) =>
      rquota.GETQUOTA_V2.encodeArguments(writer, { path, owner: QuotaOwner.GROUP, id: 7 }),
    ).toString('hex'),
    hex('00000005 2f686f6d65000000 00000001 00000007'),
  );
  t.equal(
    written((writer) => rquota.GETQUOTA_V2.encodeResult(writer, QUOTA)).toString('hex'),
    hex('00000001 00000400 00000001 ffffffff 00000002 00000003 00000004 00000005 00000006 ffffffff 00093a80'),
  );
});

t.test('what the protocol does not have is neither written nor read', async (t) => {
  const long = { path: Buffer.alloc(1025), uid: 0 };
  t.throws(() => written((writer) => rquota.GETQUOTA_V1.encodeArguments(writer, long)), {
    message: 'path is 1025 bytes long; rquota allows 1024',
  });
  const reply = (text: string) => new XdrReader(Buffer.from(hex(text), 'hex'));
  for (const status of [0, 4])
    t.throws(() => rquota.GETQUOTA_V1.decodeResult(reply(`0000000${status}`)), {
      message: `gqr_status is ${status}`,
    });
  for (const size of ['00000000', 'ffffffff'])
    t.throws(() => rquota.GETQUOTA_V1.decodeResult(reply(`00000001 ${size}`)), /a block has (0|-1) bytes/);
  t.throws(() => rquota.GETQUOTA_V2.decodeArguments(reply('00000000 00000002 00000000')), /gqa_type is 2/);
});
