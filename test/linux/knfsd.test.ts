/**
 * Linux's own server, in a guest: what its exports(5) options mean to a mount, an export that is withdrawn and comes back,
 * nested file systems, quotas, and a crash while it holds data that is not on its disk. The suites run in
 * test/e2e/knfsd-suites.test.ts.
 */
import { constants } from 'node:fs';
import t, { type Test } from 'tap';
import { errnoOf } from '../support/agent.js';
import { KNFSD_EXPORT, Knfsd } from '../support/guest/knfsd.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, run, until } from '../support/process.js';
import { SeededRandom } from '../support/seeded-random.js';
import { untilEnd } from '../support/until-end.js';

const { O_CREAT, O_RDWR, R_OK, W_OK } = constants;
const MiB = 1 << 20;
const NOBODY = 65_534;

const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await Knfsd.start({ nested: true, quotas: true }));

/** The server's usual export, with `changed` in place of the options that they contradict. */
function exportedWith(...changed: readonly string[]): string[] {
  const opposite: Readonly<Record<string, string>> = { root_squash: 'no_root_squash', secure: 'insecure' };
  const against = changed.map((option) => opposite[option]);
  return [...KNFSD_EXPORT.filter((option) => !against.includes(option)), ...changed];
}

async function mounted(t: Test, options: readonly string[] = []): Promise<Mount> {
  const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
  return mount;
}

/** Work on the server's disk. */
const onServer = (script: string) => server.guest.mustRun(`cd ${server.exportPath}\n${script}`);

t.test('root_squash: root is nobody in particular', { timeout: 120_000 }, async (t) => {
  await server.export(exportedWith('root_squash'));
  t.teardown(() => server.export());
  await onServer(
    'mkdir -m 755 squash squash/closed; mkdir -m 777 squash/open; echo x > squash/secret; chmod 600 squash/secret',
  );
  const fs = await (await mounted(t)).agent();
  await fs.chdir('squash');
  t.equal(await errnoOf(fs.writeFile('closed/file', 'x')), 'EACCES', 'a folder of the real root is closed');
  t.equal(await errnoOf(fs.readFile('secret')), 'EACCES', 'so is its file');
  t.same(
    [await fs.access('secret', R_OK), await fs.access('closed', W_OK)],
    [false, false],
    'access says so',
  );
  await fs.writeFile('open/file', 'made');
  t.equal((await fs.stat('open/file')).uid, NOBODY, 'files that root makes belong to nobody');
  t.equal((await fs.readFile('open/file')).toString(), 'made');
  t.equal(await errnoOf(fs.chown('open/file', 1000, 1000)), 'EPERM', 'and stays so');
  t.equal(await onServer('stat -c %u:%s squash/open/file'), `${NOBODY}:4\n`, 'on the disk too');
});

t.test('secure: an ordinary source port is refused, and the message says what to do', async (t) => {
  await server.export(exportedWith('secure'));
  t.teardown(() => server.export());
  const refused = Mount.start({ source: server, place, options: ['noresvport'] });
  await t.rejects(refused, /reserved port \(below 1024\).*resvport/s);
  const mount = await mounted(t, ['resvport']);
  const fs = await mount.agent();
  await fs.writeFile('secure', 'through a reserved port');
  t.equal(await onServer('cat secure'), 'through a reserved port');
  const check = [...place.product, 'check', `${server.host}:${server.exportPath}`];
  const { stdout } = await run([...server.enter, ...place.command(check)], { cwd: '/' });
  t.match(stdout.toString(), /source port below 1024/, 'check says that the export demands it');
});

t.test('a nested file system is crossed into with crossmnt', { timeout: 120_000 }, async (t) => {
  await server.export(exportedWith('crossmnt'));
  t.teardown(() => server.export());
  await onServer('mkdir -p nested/folder; echo inside > nested/folder/file; echo outside > beside');
  const mount = await mounted(t);
  const fs = await mount.agent();
  t.equal((await fs.readFile('nested/folder/file')).toString(), 'inside\n');

  await fs.writeFile('nested/made', 'made');
  t.equal(await onServer('cat nested/made'), 'made', 'written to the nested file system');
  // Both file systems give the same numbers: 2 to their roots.
  t.equal(
    await onServer('stat -c %i . nested | uniq | wc -l'),
    '1\n',
    'inode numbers are used twice on the server',
  );
  const inodes = (await mount.mustRun(['find', '.', '-printf', '%i\\n'])).trim().split('\n');
  const files = (await mount.mustRun(['find', '.'])).trim().split('\n');
  t.equal(new Set(inodes).size, files.length, 'each object has an inode number of its own');

  const blocks = async (path: string) =>
    Number(await mount.mustRun(['stat', '-f', '-c', '%b', path])) > 2 ** 18;
  t.same([await blocks('.'), await blocks('nested')], [true, false], 'df shows the size of each');
  t.equal(await errnoOf(fs.rename('beside', 'nested/beside')), 'EXDEV', 'rename does not cross');
  t.equal(await errnoOf(fs.link('beside', 'nested/beside')), 'EXDEV', 'nor do hard links');
  t.match(
    await errnoOf(fs.rmdir('nested')),
    /^(EBUSY|ENOTEMPTY|EACCES)$/,
    'what is mounted on is not removed',
  );
  await mount.mustRun(['mv', 'beside', 'nested/']);
  t.equal(await onServer('cat nested/beside'), 'outside\n', 'mv copies');
  t.same((await fs.list('nested')).map(String).sort(), ['beside', 'folder', 'made']);
});

t.test('without crossmnt the folder below is seen, as with Linux', { timeout: 120_000 }, async (t) => {
  await onServer('echo hidden > nested/hidden');
  const fs = await (await mounted(t)).agent();
  t.same(await fs.list('nested'), []);
});

t.test(
  'exportfs -u and back: errors meanwhile, and then everything goes on',
  { timeout: 120_000 },
  async (t) => {
    await onServer('mkdir away; echo there > away/there');
    const mount = await mounted(t);
    const fs = await mount.agent();
    await fs.chdir('away');
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.pwrite(fd, 'synced ', 0);
    await fs.fsync(fd);
    await fs.pwrite(fd, 'not yet', 7);
    await server.unexport();
    // Linux's own client says EACCES, but for the listing, for which it says ESTALE.
    t.equal(await errnoOf(fs.writeFile('new', 'x')), 'EACCES', 'nothing is made');
    t.equal(await errnoOf(fs.readFile('there')), 'EACCES', 'nothing is opened');
    t.equal(await errnoOf(fs.list('.')), 'EACCES', 'nothing is listed');
    t.equal(await errnoOf(fs.fsync(fd)), 'EACCES', 'fsync tells that the data is not on the server');
    await server.export();
    t.same((await fs.list('.')).map(String).sort(), ['file', 'there'], 'paths work again');
    t.equal((await fs.readFile('there')).toString(), 'there\n');
    await fs.writeFile('new', 'x');
    // The data of a failed fsync(2) may be lost (as on Linux's own client): a program writes it again.
    await fs.pwrite(fd, 'again  and now', 0);
    t.equal(await errnoOf(fs.fsync(fd)), 'no error', 'so do descriptors');
    t.equal(await errnoOf(fs.closeFd(fd)), 'no error');
    t.equal(await onServer('cat away/file'), 'again  and now');
    t.match(await mount.unmount(), { status: 0 });
  },
);

t.test('the quota that is shown is what repquota shows, and a full one is EDQUOT', async (t) => {
  const [uid, limit] = [4711, 2048];
  // rpc.rquotad insists on every transport of /etc/netconfig, and the guest has no IPv6.
  await onServer(
    `mkdir -m 777 quotas
     grep -v inet6 /etc/netconfig > /run/netconfig && mount --bind /run/netconfig /etc/netconfig
     quotaon -u . && rpc.rquotad && setquota -u ${uid} 0 ${limit} 0 9 .
     until rpcinfo -p | grep -q 100011; do sleep 0.05; done`,
  );
  t.teardown(() => onServer('quotaoff -u .; pkill rpc.rquotad'));
  await server.export(exportedWith('crossmnt'));
  t.teardown(() => server.export());
  const mount = await mounted(t, ['quotadf', `uid=${uid}`, `gid=${uid}`]);
  const fs = await mount.agent();
  await fs.writeFile('quotas/file', Buffer.alloc(MiB));
  const asked = await mustRun(place.command([...place.product, 'quota', '--json', mount.path]), { cwd: '/' });
  const [{ blockSize, blocks, files }] = (JSON.parse(asked) as { quotas: [Record<string, unknown>] }).quotas;
  const report = await onServer('repquota -u -n -O csv .');
  const [, , , used, soft, hard, , inodes, inodeSoft, inodeHard] =
    report
      .split('\n')
      .find((line) => line.startsWith(`#${uid},`))
      ?.split(',')
      .map(Number) ?? [];
  t.ok(Number(used) >= 1024);
  t.match({ blockSize, blocks, files }, { blockSize: 1024, blocks: { used, soft, hard } });
  t.match(files, { used: inodes, soft: inodeSoft, hard: inodeHard });
  const df = (path: string) => mount.mustRun(['stat', '-f', '-c', '%b %c', path]);
  t.equal(await df('.'), `${limit / 4} 9\n`, 'df shows the limits');
  t.ok(Number.parseInt(await df('nested'), 10) > limit, 'but of another file system its size');
  const fd = await fs.open('quotas/full', O_CREAT | O_RDWR);
  await fs.pwrite(fd, Buffer.alloc(2 * MiB), 0);
  t.equal(await errnoOf(fs.fsync(fd)), 'EDQUOT');
});

t.test('a crash of the server in the middle of a write loses nothing', { timeout: 240_000 }, async (t) => {
  const data = Buffer.from(new SeededRandom(19, 6).bytes(24 * MiB + 4321));
  const mount = await mounted(t);
  const fs = await mount.agent({ timeoutMs: 200_000 });
  const fd = await fs.open('crash', O_CREAT | O_RDWR);
  const half = Math.floor(data.length / 2);
  for (let at = 0; at < half; at += MiB) await fs.pwrite(fd, data.subarray(at, Math.min(at + MiB, half)), at);
  await until('the server has much of it', async () => Number(await onServer('stat -c %s crash')) > 4 * MiB);
  await server.kill();
  t.ok((await bytesOnDisk('crash')) < 4 * MiB, 'the data that the server had was not on its disk');

  const rest = (async () => {
    for (let at = half; at < data.length; at += MiB) await fs.pwrite(fd, data.subarray(at, at + MiB), at);
    await fs.fsync(fd);
    await fs.closeFd(fd);
  })();
  await server.start();
  await rest;
  await server.kill();
  await server.start();
  const fresh = await (await mounted(t)).agent({ timeoutMs: 200_000 });
  t.ok((await fresh.readFile('crash')).equals(data), 'after fsync all of it outlives another crash');
});

/** A file's size in the image of the stopped server's disk; 0 where it has no such file. */
async function bytesOnDisk(name: string): Promise<number> {
  const said = await mustRun(['debugfs', '-c', '-R', `stat /${name}`, server.disk], { cwd: '/' });
  return Number(/\bSize: (\d+)/.exec(said)?.[1] ?? 0);
}
