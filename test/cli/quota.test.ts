/** `nfs-fuse quota`, df with `-o quotadf`, and what programs see of a quota that is full. */
import { constants } from 'node:fs';
import t from 'tap';
import { humanSize } from '../../lib/cli/quota-text.js';
import { Status } from '../../lib/programs/nfs3/index.js';
import type { Quota } from '../../lib/programs/rquota/index.js';
import { errnoOf } from '../support/agent.js';
import type { Mount } from '../support/mount.js';
import { freePorts } from '../support/ports.js';
import { run } from '../support/process.js';
import { QuotaServer } from '../support/quota-server.js';
import { watchedServer } from '../support/two-mounts.js';
import { untilEnd } from '../support/until-end.js';
import { failsOnce, type Said, said } from './support/product.js';

const { O_CREAT, O_SYNC, O_WRONLY } = constants;
const NO_LIMIT = { used: 0, softLimit: 0, hardLimit: 0, timeLeft: 0 };
const QUOTA: Quota = {
  blockSize: 1024,
  active: true,
  blocks: { used: 1_200_000, softLimit: 1_000_000, hardLimit: 2_000_000, timeLeft: 6.5 * 86_400 },
  files: { ...NO_LIMIT, used: 4711, hardLimit: 5000 },
};
const SMALL: Quota = { ...QUOTA, blocks: { ...NO_LIMIT, used: 1000, hardLimit: 2000 } };

const server = await watchedServer(t);
const service = untilEnd(t, await QuotaServer.start());
service.quotas.set('user 0', SMALL).set('user 1', QUOTA).set('user 2', 'refused');
service.quotas.set('group 0', { ...QUOTA, active: false }).set('group 8', { ...QUOTA, blocks: NO_LIMIT });

const mounted = async (...options: string[]) => (await server.mount(options)).mount;

async function quotaOf({ place, path }: Mount, ...args: string[]): Promise<Said> {
  return said(await run(place.command([...place.product, 'quota', path, ...args]), { cwd: '/' }));
}

/** Blocks, free and available ones, files and free ones, as statfs(2) tells them. */
const df = async (mount: Mount) =>
  (await mount.mustRun(['stat', '-f', '-c', '%b %f %a %c %d', '.'])).trim().split(' ').map(Number);

const withQuota = await mounted(`rquotaport=${service.port}`, 'quotadf');

t.test('quota shows those of the caller, as a table, and others that are asked for', async (t) => {
  const own = await quotaOf(withQuota);
  t.match(own, { status: 0, stderr: '' });
  const [title, headings, ...lines] = own.stdout.trimEnd().split('\n');
  t.match(title, /^Quotas on 127\.0\.0\.1:\/export:$/);
  t.match(headings, /^ +Used +Soft +Hard +Grace +Files +Soft +Hard +Grace$/);
  t.match(lines[0], /^user 0 +1000K +- +2\.0M +- +4711 +- +5000 +-$/);
  t.match(lines[1], /^group 0 +1\.2G\* +977M +2\.0G +6 days +4711 +- +5000 +-$/);
  t.equal(lines.at(-1), 'The server does not enforce the quota of group 0 now.');
  t.ok(service.questions.includes('user 0 of /export, asked by 0'), service.questions.join());
  t.match((await quotaOf(withQuota, '--user', '1')).stdout, /^user 1 +1\.2G\* +977M +2\.0G +6 days/m);
});

t.test('--json has numbers', async (t) => {
  const { stdout } = await quotaOf(withQuota, '--json', '--group', '8');
  const use = { used: 4711, soft: 0, hard: 5000, graceSeconds: null };
  t.strictSame(JSON.parse(stdout), {
    source: '127.0.0.1:/export',
    mountpoint: withQuota.path,
    quotas: [
      {
        ...{ kind: 'group', id: 8, serverId: 8, result: 'quota', enforced: true, blockSize: 1024 },
        ...{ blocks: { used: 0, soft: 0, hard: 0, graceSeconds: null }, files: use },
      },
    ],
  });
});

t.test('no quota is no failure; a quota that is not told is one', async (t) => {
  t.match(await quotaOf(withQuota, '--group', '9'), {
    status: 0,
    stdout: /The server has no quota for group 9\./,
  });
  t.match(await quotaOf(withQuota, '--user', '2'), {
    status: 1,
    stdout: /user 2 is not told: .* not permit/,
  });
  const mistakes = [
    ['--user', '4294967295'],
    ['--user', '1', '--group', '1'],
  ];
  for (const outcome of await Promise.all(mistakes.map((words) => quotaOf(withQuota, ...words))))
    t.match(outcome, { status: 1, stdout: '', stderr: /number of a user|one quota/ });
});

t.test('version 1 knows users only, and the ids of the mount are translated', async (t) => {
  const old = untilEnd(t, await QuotaServer.start(false));
  old.quotas.set('user 1234', QUOTA);
  const mount = await mounted(`rquotaport=${old.port}`, 'uid=1234', 'gid=1235');
  const own = await quotaOf(mount);
  t.match(own, { status: 0, stdout: /^user 0 \(1234 on the server\) +1\.2G\*/m });
  t.notMatch(own.stdout, /group/);
  t.same(old.questions, ['user 1234 of /export, asked by 1234']);
  t.match(await quotaOf(mount, '--group', '7'), { status: 1, stdout: /group 7 is not known: .* users only/ });
});

t.test('df shows the smaller of disk and quota, and without quotadf the disk', async (t) => {
  const [blocks, free, available, files, freeFiles] = await df(withQuota);
  t.same([blocks, free, files, freeFiles], [500, 250, 5000, 289]);
  t.equal(available, 250);
  const [all = 0] = await df(await mounted(`rquotaport=${service.port}`));
  t.ok(all > 500);
});

t.test(
  'without a quota service the command fails with one message, and df goes on with one line in the log',
  async (t) => {
    const [closed = 0] = await freePorts(1);
    const mount = await mounted(`rquotaport=${closed}`, 'quotadf');
    failsOnce(
      t,
      await quotaOf(mount),
      new RegExp(`The quota service of 127\\.0\\.0\\.1 does not answer on port ${closed}\\.`),
      /rpc\.rquotad .*rquotaport=/,
    );
    const [blocks = 0] = await df(mount);
    t.ok(blocks > 500);
    await df(mount);
    t.equal(mount.log.match(/df shows the file system without quotas/g)?.length, 1, mount.log);
  },
);

t.test('a full quota is EDQUOT for write, fsync, close, and whatever is made', async (t) => {
  const { faults } = server.server;
  const fs = await withQuota.agent();
  const write = async (name: string, flags = 0) => {
    const fd = await fs.open(name, O_CREAT | O_WRONLY | flags);
    return { fd, written: await errnoOf(fs.write(fd, 'data')) };
  };
  for (const procedure of ['WRITE', 'MKDIR'] as const)
    faults.add({ procedure, status: Status.DQUOT, times: 100 });
  const synced = await write('synced');
  t.equal(synced.written, 'no error', 'it is written behind');
  t.equal(await errnoOf(fs.fsync(synced.fd)), 'EDQUOT');
  t.equal(await errnoOf(fs.closeFd(synced.fd)), 'no error', 'it is told once');
  t.equal(await errnoOf(fs.closeFd((await write('closed')).fd)), 'EDQUOT');
  t.equal((await write('through', O_SYNC)).written, 'EDQUOT');
  t.equal(await errnoOf(fs.mkdir('folder')), 'EDQUOT');
  faults.clear();
  const later = await write('closed');
  t.equal(await errnoOf(fs.closeFd(later.fd)), 'no error', 'and then there is room again');
});

t.test('sizes are written as df -h writes them, rounded up', async (t) => {
  const cases: readonly (readonly [bigint, string])[] = [
    [0n, '0'],
    [1023n, '1023'],
    [1024n, '1.0K'],
    [1025n, '1.1K'],
    [10_240n, '10K'],
    [1_048_575n, '1.0M'],
    [10_485_761n, '11M'],
    [2n ** 63n, '8.0E'],
  ];
  for (const [bytes, text] of cases) t.equal(humanSize(bytes), text);
});
