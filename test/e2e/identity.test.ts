/**
 * The users and groups that the server sees, beyond ranges: everything as one user, namespaces with a single id, mounters
 * that the server does not have, the users who may enter a mount of a namespace, and more groups than AUTH_SYS carries.
 */
import { constants } from 'node:fs';
import { chmod, chown, lstat, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { embeddedMount, statsOf } from '../support/embedded-mount.js';
import { exportFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { openIdRangePlace } from '../support/id-range-place.js';
import { Mount } from '../support/mount.js';
import { openPlace, type Place } from '../support/places.js';
import { run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const { O_RDONLY, O_RDWR, O_WRONLY } = constants;
const NOBODY = 65_534;
/** The result of errnoOf for a call that succeeded. */
const DONE = 'no error';
/** A user that only the server has. */
const THE_ONE = 5000;
const ANNA = 31_001;
const BERT = 31_002;

async function become(
  mount: Mount,
  uid: number,
  gid: number,
  groups: readonly number[] = [],
): Promise<Agent> {
  const agent = await mount.agent();
  await agent.become(uid, gid, groups);
  await agent.umask(0o022);
  return agent;
}

/** A server of a folder that is made before it starts, since it remembers owners for a while. */
async function ganesha(
  t: Test,
  squash: 'No_Root_Squash' | 'Root_Squash' | 'All_Squash',
  prepare: (directory: string) => Promise<void>,
): Promise<Ganesha> {
  const scratch = untilEnd(t, exportFolder());
  const directory = join(scratch.path, 'export');
  await mkdir(directory);
  await prepare(directory);
  const server = untilEnd(
    t,
    await Ganesha.start({ squash, directory, anonymous: { uid: NOBODY, gid: NOBODY } }),
  );
  return server;
}

async function at<P extends Place>(t: Test, place: Promise<P>): Promise<P> {
  const opened = untilEnd(t, await place);
  return opened;
}

async function mounted(t: Test, source: Ganesha, place: Place, options: readonly string[]): Promise<Mount> {
  const mount = untilEnd(t, await Mount.start({ source, place, options }));
  return mount;
}

async function put(path: string, mode: number, uid: number, gid: number): Promise<void> {
  await writeFile(path, 'x');
  await chmod(path, mode);
  await chown(path, uid, gid);
}

async function owners(stat: Promise<{ uid: number; gid: number }>): Promise<number[]> {
  const { uid, gid } = await stat;
  return [uid, gid];
}

t.test(
  'uid= and gid=: all calls are one user’s to the server, and its files read as the mounter’s',
  async (t) => {
    const server = await ganesha(t, 'Root_Squash', async (directory) => {
      await chown(directory, THE_ONE, THE_ONE);
      await put(join(directory, 'roots'), 0o644, 0, 0);
      await put(join(directory, 'strangers'), 0o644, 7777, 7778);
    });
    const place = await at(t, openPlace('root'));
    const mount = await mounted(t, server, place, ['allow_other', `uid=${THE_ONE}`, `gid=${THE_ONE}`]);
    t.match(mount.entry?.options, /default_permissions/, 'the server does not tell callers apart');
    const root = await mount.agent();
    const anna = await become(mount, ANNA, ANNA, [BERT]);
    const bert = await become(mount, BERT, BERT);

    await root.writeFile('file', 'by root');
    await root.chmod('file', 0o600);
    t.same(await owners(lstat(join(server.directory, 'file'))), [THE_ONE, THE_ONE]);
    t.same(await owners(root.stat('file')), [0, 0]);
    t.equal(
      await errnoOf(bert.open('file', O_RDONLY)),
      'EACCES',
      'a file of the mounter is not open to everybody',
    );
    t.equal(await errnoOf(anna.writeFile('file', 'x')), 'EACCES');
    t.equal(await errnoOf(anna.mkdir('folder')), 'EACCES', 'nor is the folder');
    await root.mkdir('shared');
    await root.chmod('shared', 0o777);
    await anna.writeFile('shared/file', 'x');
    t.same(await owners(lstat(join(server.directory, 'shared/file'))), [THE_ONE, THE_ONE]);

    t.same(await owners(root.stat('strangers')), [7777, 7778]);
    t.same(await owners(root.stat('roots')), [NOBODY, NOBODY], 'the server’s root is not ours');
    t.equal(await errnoOf(root.open('roots', O_WRONLY)), 'EACCES');
    t.equal(await errnoOf(root.chown('file', 0, 0)), DONE, 'to oneself');
    t.equal(await errnoOf(root.chown('file', THE_ONE, THE_ONE)), DONE, 'or by the server’s name');
    t.equal(await errnoOf(root.chown('file', ANNA, -1)), 'EPERM', 'to another');
    t.same(await owners(lstat(join(server.directory, 'file'))), [THE_ONE, THE_ONE]);

    const { identity } = await statsOf(mount);
    t.match(identity, { uid: { everybody: THE_ONE, ranges: [] }, gid: { everybody: THE_ONE } });
    const { stdout } = await run([...place.product, 'stats', mount.path], { cwd: '/' });
    t.match(stdout.toString(), `identity uid=${THE_ONE}, gid=${THE_ONE}`);
  },
);

t.test(
  'a namespace with one id: uid= makes it the user of the server, and leaves every decision to it',
  async (t) => {
    const server = await ganesha(t, 'Root_Squash', async (directory) => {
      await chown(directory, THE_ONE, THE_ONE);
      await put(join(directory, 'for-all'), 0o666, 7777, 7777);
      await mkdir(join(directory, 'exchange'));
      await chmod(join(directory, 'exchange'), 0o777);
    });
    const place = await at(t, openPlace('userns'));

    await t.test(
      'with a range, files of users without a counterpart read as nobody’s, and the kernel lets nobody change them',
      async (t) => {
        const map = `0:${THE_ONE}:1`;
        const mount = await mounted(t, server, place, [`idmap-uid=${map}`, `idmap-gid=${map}`]);
        const agent = await mount.agent();
        await agent.writeFile('mine', 'x');
        t.same(await owners(lstat(join(server.directory, 'mine'))), [THE_ONE, THE_ONE]);
        t.same(await owners(agent.stat('mine')), [0, 0]);
        t.equal(
          await errnoOf(agent.chown('mine', 1, -1)),
          'EINVAL',
          'an id that the namespace does not have',
        );
        t.same(await owners(agent.stat('for-all')), [NOBODY, NOBODY]);
        t.equal(await errnoOf(agent.open('for-all', O_RDONLY)), DONE);
        t.equal(await errnoOf(agent.open('for-all', O_WRONLY)), 'EACCES');
      },
    );

    await t.test('with uid= and gid=, it reads as one’s own, and the server decides', async (t) => {
      const mount = await mounted(t, server, place, [`uid=${THE_ONE}`, `gid=${THE_ONE}`]);
      const agent = await mount.agent();
      t.same(await owners(agent.stat('mine')), [0, 0]);
      t.same(await owners(agent.stat('for-all')), [0, 0]);
      t.equal(await errnoOf(agent.open('for-all', O_WRONLY)), DONE);
      await agent.writeFile('exchange/file', 'x');
      t.same(await owners(lstat(join(server.directory, 'exchange/file'))), [THE_ONE, THE_ONE]);
      t.equal(await errnoOf(agent.chmod('for-all', 0o600)), 'EPERM', 'which is not the owner’s consent');
    });
  },
);

t.test(
  'with a server that squashes all, uid= of the squashed user gives files back to their makers',
  async (t) => {
    const server = await ganesha(t, 'All_Squash', (directory) => chown(directory, NOBODY, NOBODY));
    const place = await at(t, openPlace('userns'));
    await t.test('without it, the kernel refuses what the server allows', async (t) => {
      const mount = await mounted(t, server, place, []);
      const agent = await mount.agent();
      // The kernel learns the owner of the root when the root is first looked at.
      await agent.stat('.');
      t.equal(await errnoOf(agent.mkdir('folder')), 'EACCES');
    });
    await t.test('with it, files can be made and made again', async (t) => {
      const mount = await mounted(t, server, place, [`uid=${NOBODY}`, `gid=${NOBODY}`]);
      const agent = await mount.agent();
      await agent.writeFile('file', 'one');
      await agent.writeFile('file', 'two');
      await agent.chmod('file', 0o600);
      t.same(await owners(agent.stat('file')), [0, 0]);
      t.equal((await agent.readFile('file')).toString(), 'two');
    });
  },
);

t.test('a user who mounts for others need not exist on the server', async (t) => {
  const server = await ganesha(t, 'Root_Squash', (directory) => chown(directory, THE_ONE, THE_ONE));
  const map = `${ANNA}:${THE_ONE}:1`;
  const place = await at(t, openPlace('root'));
  const mount = await mounted(t, server, place, ['allow_other', `idmap-uid=${map}`, `idmap-gid=${map}`]);
  const anna = await mount.agent({ cwd: '/' });
  t.equal(await errnoOf(anna.call('open', Buffer.from(`${mount.path}/x`), O_RDWR, 0)), 'EOVERFLOW', 'root');
  await anna.become(ANNA, ANNA);
  await anna.chdir(mount.path);
  await anna.writeFile('file', 'x');
  t.same(await owners(anna.stat('file')), [ANNA, ANNA]);
  t.same(await owners(lstat(join(server.directory, 'file'))), [THE_ONE, THE_ONE]);
});

t.test('allow_other in a user namespace admits its processes and those of namespaces within', async (t) => {
  const server = await ganesha(t, 'No_Root_Squash', (directory) => put(join(directory, 'file'), 0o644, 0, 0));
  const place = await at(t, openIdRangePlace());
  const reads = async (mount: Mount, argv: string[]): Promise<boolean> =>
    (await run([...argv, 'cat', join(mount.path, 'file')], { cwd: '/' })).status === 0;
  const anna = place.command(['setpriv', '--reuid=100', '--regid=100', '--clear-groups']);
  const nested = place.command(['unshare', '-Ur']);
  const host = place.outside([]);
  t.equal(
    (await run([...host, 'ls', place.folder], { cwd: '/' })).status,
    0,
    'the host sees the mount point',
  );

  await t.test('with it', async (t) => {
    const mount = await mounted(t, server, place, ['allow_other']);
    t.ok(await reads(mount, place.command([])), 'its root');
    t.ok(await reads(mount, anna), 'another user of it');
    t.ok(await reads(mount, nested), 'a namespace within');
    t.notOk(await reads(mount, host), 'not even root of the host');
  });
  await t.test('without it', async (t) => {
    const mount = await mounted(t, server, place, []);
    t.ok(await reads(mount, place.command([])), 'its root');
    t.notOk(await reads(mount, anna), 'nobody else');
    t.notOk(await reads(mount, host));
  });
});

t.test('of more than 16 groups, the groups of the objects are sent', async (t) => {
  const groups = Array.from({ length: 24 }, (_, index) => 40_000 + index);
  const [eighteenth = 0, nineteenth = 0, twentieth = 0] = groups.slice(17);
  const stranger = 50_000;

  const works = async (t: Test, mount: Mount, directory: string): Promise<void> => {
    const carl = await become(mount, ANNA, ANNA, groups);
    await carl.writeFile('team/file', 'x');
    await carl.mkdir('team/folder');
    t.ok((await carl.list('team')).length >= 2);
    await carl.rename('team/file', 'others/file');
    t.equal((await carl.readFile('others/file')).toString(), 'x', 'two folders of two groups at once');
    await carl.rename('team/shared', 'others/shared');
    t.equal(
      await errnoOf(carl.writeFile('others/shared/x', 'x')),
      DONE,
      'a folder of a third one moves, too',
    );
    await carl.chown('others/file', -1, twentieth);
    t.equal((await lstat(join(directory, 'others/file'))).gid, twentieth, 'a file is given to any of them');
    t.equal(await errnoOf(carl.chown('others/file', -1, stranger)), 'EPERM');
    t.equal(await errnoOf(carl.open('closed', O_RDONLY)), 'EACCES', 'a group that one is not in');
    const fd = await carl.open('plan', O_RDWR);
    await carl.write(fd, 'changed');
    await carl.fsync(fd);
    await carl.closeFd(fd);
    const dora = await become(mount, BERT, BERT, groups.slice(0, 16));
    t.equal(await errnoOf(dora.list('team')), 'EACCES', 'whose groups are others');
  };

  const prepare = async (directory: string): Promise<void> => {
    await chmod(directory, 0o755);
    for (const [name, gid] of [
      ['team', eighteenth],
      ['others', nineteenth],
      ['team/shared', twentieth],
    ] as const) {
      await mkdir(join(directory, name));
      await chmod(join(directory, name), 0o770);
      await chown(join(directory, name), 0, gid);
    }
    await put(join(directory, 'plan'), 0o660, 0, eighteenth);
    await put(join(directory, 'closed'), 0o660, 0, stranger);
  };

  await t.test('nfs-ganesha, which believes the groups that it is sent', async (t) => {
    const server = await ganesha(t, 'No_Root_Squash', prepare);
    const place = await at(t, openPlace('root'));
    await works(t, await mounted(t, server, place, ['allow_other']), server.directory);
  });

  await t.test('the embedded server', async (t) => {
    const { mount, folder } = await embeddedMount(t, ['allow_other'], { rootSquash: false });
    await prepare(folder);
    await works(t, mount, folder);
  });
});
