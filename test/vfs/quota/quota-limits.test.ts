/** df within a quota: which of two sizes is shown, and how seldom the server is asked. */
import t from 'tap';
import {
  type Quota,
  QuotaOwner,
  type QuotaResult,
  QuotaStatus,
  RquotaClient,
} from '../../../lib/programs/rquota/index.js';
import { RpcProgramMismatchError } from '../../../lib/rpc/rpc-errors.js';
import { Credentials } from '../../../lib/vfs/caller/caller.js';
import { QuotaLimits, withinQuota } from '../../../lib/vfs/quota/quota-limits.js';
import { reportedQuota } from '../../../lib/vfs/quota/quota-report.js';
import { QuotaServiceError } from '../../../lib/vfs/quota/quota-service.js';
import { ManualClock } from '../../rpc/support/manual-clock.js';

const NO_LIMIT = { used: 0, softLimit: 0, hardLimit: 0, timeLeft: 0 };
const quota = (more: Partial<Quota> = {}): Quota => ({
  blockSize: 1024,
  active: true,
  blocks: NO_LIMIT,
  files: NO_LIMIT,
  ...more,
});

t.test(
  'the smaller one is shown: the soft limit before the hard one, and nothing free beyond it',
  async (t) => {
    const disk = {
      ...{ blocks: 1000n, bfree: 500n, bavail: 400n, files: 100n, ffree: 50n },
      ...{ bsize: 65536, frsize: 4096, namelen: 255 },
    };
    const blocks = (used: number, softLimit: number, hardLimit: number) =>
      withinQuota(disk, quota({ blocks: { ...NO_LIMIT, used, softLimit, hardLimit } }));
    t.strictSame(withinQuota(disk, quota()), disk, 'no limit');
    t.match(blocks(40, 0, 400), { blocks: 100n, bfree: 90n, bavail: 90n, files: 100n, ffree: 50n });
    t.match(blocks(40, 200, 400), { blocks: 50n, bfree: 40n, bavail: 40n }, 'the soft limit');
    t.match(blocks(240, 200, 400), { blocks: 50n, bfree: 0n, bavail: 0n }, 'more than that is used');
    t.match(blocks(0, 0, 4_000_000), { blocks: 1000n, bfree: 500n, bavail: 400n }, 'the disk is smaller');
    t.match(blocks(0, 0, 1900), { blocks: 475n, bfree: 475n, bavail: 400n }, 'each number for itself');
    const files = { ...NO_LIMIT, used: 15, hardLimit: 20 };
    t.match(withinQuota(disk, quota({ files })), { blocks: 1000n, files: 20n, ffree: 5n });
    const large = { ...quota({ blocks: { ...NO_LIMIT, hardLimit: 0xffff_ffff } }), blockSize: 2 ** 30 };
    t.match(
      withinQuota({ ...disk, blocks: 2n ** 60n }, large),
      { blocks: 0xffff_ffffn << 18n },
      'beyond 2^53',
    );
  },
);

interface Answers {
  readonly limits: QuotaLimits;
  readonly clock: ManualClock;
  readonly log: string[];
  /** The users who were asked for. */
  readonly asked: number[];
  answer: QuotaResult | Error;
  of(uid: number): Promise<Quota | undefined>;
}

function answers(answer: QuotaResult | Error): Answers {
  const clock = new ManualClock();
  const log: string[] = [];
  const note = (message: string) => void log.push(message);
  const credentials = new Credentials({ machineName: 'test', now: () => clock.now() });
  const caller = {
    call: async (_: unknown, args: unknown) => {
      asked.push((args as { id: number }).id);
      if (made.answer instanceof Error) throw made.answer;
      return made.answer as never;
    },
    close: () => {},
  };
  const asked: number[] = [];
  const limits = new QuotaLimits({
    service: { ask: (credential, ask) => ask(new RquotaClient(caller, credential)) },
    path: Buffer.from('/export'),
    clock,
    log: { info: note, warn: note, error: note },
  });
  const made: Answers = {
    limits,
    clock,
    log,
    asked,
    answer,
    of: (uid) => limits.of(credentials.of(uid, 9, [])),
  };
  return made;
}

t.test('each user is asked for once in five seconds, however often df runs', async (t) => {
  const server = answers({ status: QuotaStatus.OK, quota: quota() });
  await Promise.all([server.of(1), server.of(1), server.of(2)]);
  t.strictSame(await server.of(1), quota());
  t.same(server.asked, [1, 2]);
  server.answer = { status: QuotaStatus.NOQUOTA };
  server.clock.advance(5_001);
  t.equal(await server.of(1), undefined, 'no quota any more');
  t.same(server.asked, [1, 2, 1]);
});

t.test('a quota that is not enforced, or not told, does not count', async (t) => {
  const server = answers({ status: QuotaStatus.OK, quota: quota({ active: false }) });
  t.equal(await server.of(1), undefined);
  server.answer = { status: QuotaStatus.EPERM };
  t.equal(await server.of(2), undefined);
  t.same(server.log, []);
});

t.test('a server that cannot tell is left alone for a minute, and the log says so once', async (t) => {
  const server = answers(new QuotaServiceError('server offers no quota service'));
  for (const uid of [1, 1, 2]) t.equal(await server.of(uid), undefined);
  t.same(server.asked, [1]);
  server.clock.advance(60_001);
  t.equal(await server.of(1), undefined);
  t.same(server.asked, [1, 1]);
  t.same(server.log, ['server offers no quota service: df shows the file system without quotas. Said once.']);
  server.answer = { status: QuotaStatus.OK, quota: quota() };
  server.clock.advance(60_001);
  t.ok(await server.of(1), 'it is asked again later');
});

t.test('a server of version 1 is asked for users by version 1, and not for groups', async (t) => {
  const calls: string[] = [];
  const caller = {
    call: async ({ program: { version } }: { program: { version: number } }, args: unknown) => {
      calls.push(`${version} ${Object.keys(args as object).join()}`);
      if (version === 2) throw new RpcProgramMismatchError('GETQUOTA', 1, 1);
      return { status: QuotaStatus.NOQUOTA } as never;
    },
    close: () => {},
  };
  const credentials = new Credentials({ machineName: 'test', now: () => 0 });
  const client = new RquotaClient(caller, credentials.of(1, 1, []));
  const path = Buffer.from('/');
  t.same(await client.quota(path, QuotaOwner.USER, 1), { status: QuotaStatus.NOQUOTA });
  t.equal(await client.quota(path, QuotaOwner.GROUP, 1), undefined);
  t.same(calls, ['2 path,owner,id', '1 path,uid'], 'version 2 is tried once');
});

t.test('a grace counts beyond the soft limit only, and may be told as a time', async (t) => {
  const graceOf = (used: number, timeLeft: number) =>
    reportedQuota(quota({ blocks: { used, softLimit: 10, hardLimit: 20, timeLeft } }), 1_700_000_000_500)
      .blocks.graceSeconds;
  t.equal(graceOf(10, 100), null);
  t.equal(graceOf(11, 100), 100);
  t.equal(graceOf(11, 0), null, 'not told');
  t.equal(graceOf(11, -5), 0, 'over');
  t.equal(graceOf(11, 1_700_000_060), 60, 'a time since 1970');
  t.equal(graceOf(11, 1_600_000_000), 0, 'one that is over');
});
