/**
 * A mount that another process has made: a helper opens /dev/fuse and mounts as root, nfs-fuse serves the descriptor as
 * an ordinary user, and the helper unmounts.
 */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { EmbeddedServer } from '../../lib/server/index.js';
import { mountsOf } from '../support/mount.js';
import { openPlace, type Place, WITHOUT_FUSE } from '../support/places.js';
import { freePorts } from '../support/ports.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { namesOfCalls, servedFolder } from '../support/served-folder.js';
import { removeStaged } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';
import { nfsFuse, STACK_TRACE, said } from './support/product.js';

let user: Place;
t.before(async () => {
  user = await openPlace('user');
});
t.teardown(async () => {
  await user.close();
  await removeStaged();
});

interface Ground {
  readonly server: EmbeddedServer;
  readonly served: string;
  readonly mnt: string;
  /** The MOUNT procedures that the server was asked for: "MNT", "UMNT". */
  readonly calls: readonly string[];
  /** A shell script that opens /dev/fuse as descriptor 3 and mounts it. */
  readonly mount: string;
  /** `nfs-fuse mount -f … /dev/fd/3` as an ordinary user without any privilege. */
  readonly serve: readonly string[];
}

const OPEN = 'exec 3<>/dev/fuse';

const isMounted = (path: string) => mountsOf(process.pid).some((entry) => entry.path === path);

/** Serves a folder that the user may write to, and makes a mount point. Nothing is mounted there afterwards. */
async function ground(t: Test): Promise<Ground> {
  const { server, served, mnt } = await servedFolder(t);
  chmodSync(served, 0o777);
  const calls = namesOfCalls(server);
  const { uid, gid } = user.owner;
  const options = `rootmode=40000,user_id=${uid},group_id=${gid},allow_other,default_permissions,nosuid,nodev`;
  const mount = `${OPEN} && mount -i -t fuse.nfs-fuse -o fd=3,${options} 127.0.0.1:/export ${mnt}`;
  return { server, served, mnt, calls, mount, serve: serve(server.port) };
}

function serve(port: number, more: readonly string[] = ['-f'], at = '/dev/fd/3'): string[] {
  const options = ['-o', `port=${port},mountport=${port},nolock`];
  return user.command([...user.product, 'mount', ...more, ...options, '127.0.0.1:/export', at]);
}

/** A helper that prepares and then becomes nfs-fuse, so that no other process has the descriptor. */
const becoming = (prepare: string, argv: readonly string[]) => [
  'sh',
  '-c',
  `${prepare} && exec "$@"`,
  'sh',
  ...argv,
];

async function startServing(t: Test, { mount, serve }: Ground): Promise<Background> {
  const serving = untilEnd(t, start(becoming(mount, serve)));
  await isServed(serving);
  return serving;
}

async function isServed(helper: Background): Promise<void> {
  await until('it is served', () => {
    if (helper.outcome !== undefined) throw new Error(helper.output);
    return helper.output.includes('is mounted on /dev/fd/3');
  });
}

t.test(
  'programs read and write, and when the helper unmounts, everything is written and the status is 0',
  async (t) => {
    const where = await ground(t);
    writeFileSync(join(where.served, 'old'), 'from the server');
    const serving = await startServing(t, where);
    t.match(readFileSync(`/proc/${serving.pid}/status`, 'latin1'), /^CapEff:\s*0+$/m, 'it has no privilege');
    t.equal(await mustRun(['cat', join(where.mnt, 'old')]), 'from the server');
    const copy = `dd if=/dev/zero of=${where.mnt}/zeros bs=1M count=20 && echo new > ${where.mnt}/new`;
    await mustRun(user.command(['sh', '-c', copy]));
    await mustRun(['umount', where.mnt]);
    const ended = said(await serving.ended);
    t.match(ended, { status: 0 });
    t.notMatch(ended.stderr, STACK_TRACE);
    t.equal(readFileSync(join(where.served, 'new'), 'utf8'), 'new\n');
    t.same(readFileSync(join(where.served, 'zeros')), Buffer.alloc(20 * 1024 * 1024));
    t.equal(where.calls.filter((name) => name === 'UMNT').length, 1);
  },
);

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`${signal} writes back, ends the connection and says so, with status 0`, async (t) => {
    const where = await ground(t);
    const serving = await startServing(t, where);
    const content = 'printf content >&4 && echo written && exec sleep 1000';
    const writing = untilEnd(t, start(user.command(['sh', '-c', `exec 4> ${where.mnt}/file && ${content}`])));
    await until('it is written, but not closed', () => {
      if (writing.outcome !== undefined) throw new Error(writing.output);
      return writing.output === 'written\n';
    });
    serving.child.kill(signal);
    t.match(said(await serving.ended), {
      status: 0,
      stderr: /dev\/fd\/3 cannot be unmounted from here: its connection is closed/,
    });
    t.equal(readFileSync(join(where.served, 'file'), 'utf8'), 'content');
    t.equal(where.calls.filter((name) => name === 'UMNT').length, 1);
    t.ok(isMounted(where.mnt), 'the mount point is left to the helper');
    const { stderr } = await run(['ls', where.mnt], { timeoutMs: 60_000 });
    t.match(stderr.toString(), /Transport endpoint is not connected/);
  });
}

t.test('stats and umount find the mount by its number if the kernel tells it', async (t) => {
  const where = await ground(t);
  const serving = await startServing(t, where);
  const told = /^fuse_connection:/m.test(readFileSync(`/proc/${serving.pid}/fdinfo/3`, 'latin1'));
  const asked = await nfsFuse(['stats', '--json', where.mnt]);
  if (told) t.match(JSON.parse(asked.stdout), { source: '127.0.0.1:/export', mountpoint: '/dev/fd/3' });
  else t.match(asked, { status: 1 });
  t.equal(/does not tell the number/.test(serving.output), !told);
  t.match(await nfsFuse(['umount', where.mnt]), { status: 0, stderr: '' });
  t.match(await serving.ended, { status: 0 });
});

t.test(
  'a descriptor is served once, and the mount ends on SIGTERM although the helper keeps a copy',
  async (t) => {
    const where = await ground(t);
    // In a mount namespace of its own, where a file system is mounted that can end the connection. Otherwise ls would wait for
    // ever.
    const script = `${WITHOUT_FUSE}; mount -t fusectl none /sys/fs/fuse/connections && ${where.mount} || exit 99
    "$@" & first=$!
    read -r line; "$@"; echo "second: $?"
    kill -TERM $first; wait $first; echo "first: $?"
    timeout -s KILL 60 ls ${where.mnt}; echo "ls: $?"
    umount ${where.mnt}`;
    const alone = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh'];
    const helper = untilEnd(t, start([...alone, ...where.serve], { stdio: ['pipe', 'pipe', 'pipe'] }));
    await isServed(helper);
    helper.child.stdin?.end('\n');
    const { stdout, stderr } = said(await helper.ended);
    t.match(stderr, /Descriptor 3 is being served by another process, or was\.\n +Unmount, open/);
    t.match(stderr, /Transport endpoint is not connected/);
    t.equal(stdout, 'second: 1\nfirst: 0\nls: 2\n');
  },
);

t.test('nfs-fuse reports a mount that is gone before it could be served', async (t) => {
  const where = await ground(t);
  const { rpc } = where.server;
  if (rpc === undefined) throw new Error('the server does not listen');
  // The unmount comes between the look at the descriptor and the first request.
  const before = async ({ name }: { readonly name: string }) => {
    if (name === 'MNT') await run(['umount', '-l', '-c', where.mnt]);
    return undefined;
  };
  rpc.hooks = { ...rpc.hooks, before };
  const outcome = said(await run(becoming(where.mount, where.serve), { timeoutMs: 120_000 }));
  t.equal(outcome.status, 1);
  t.match(outcome.stderr, /\/dev\/fd\/3 was unmounted, or aborted, before it was served\.\n/);
  t.notMatch(outcome.stderr, STACK_TRACE);
});

t.test('nfs-fuse does not wait on for a server when the mount is gone', async (t) => {
  const where = await ground(t);
  const [port = 0] = await freePorts(1);
  const patient = serve(port, ['-f', '-o', 'retry=1000']);
  const waiting = untilEnd(t, start(becoming(where.mount, patient)));
  await until('it tries again', () => waiting.output.includes('Trying again'));
  await mustRun(['umount', '-l', '-c', where.mnt]);
  const ended = said(await waiting.ended);
  t.equal(ended.status, 1);
  t.match(ended.stderr, /Descriptor 3 is \/dev\/fuse, but not mounted, or not any more\./);
  t.notMatch(ended.stderr, STACK_TRACE);
});

t.test('nfs-fuse refuses descriptors that it cannot serve, and arguments that do not fit one', async (t) => {
  const where = await ground(t);
  const { port } = where.server;
  const exec = user.command([...user.product, 'exec', '127.0.0.1:/export', '/dev/fd/3', '--', 'true']);
  const cases: readonly (readonly [prepare: string, argv: readonly string[], message: RegExp])[] = [
    [
      'exec 3<&-',
      where.serve,
      /Descriptor 3 is not \/dev\/fuse, or was not handed over\.\n +Open \/dev\/fuse as descriptor 3, mount/,
    ],
    [
      ':',
      serve(port, ['-f'], '/dev/fd/99999'),
      /Descriptor 99999 is not open\.\n +Open \/dev\/fuse as descriptor 99999, mount/,
    ],
    ['exec 3<>/dev/null', where.serve, /Descriptor 3 is not \/dev\/fuse, or/],
    [`exec 3<${where.served}`, where.serve, /Descriptor 3 is not \/dev\/fuse, or/],
    [
      OPEN,
      where.serve,
      /Descriptor 3 is \/dev\/fuse, but not mounted, or not any more\.\n +Mount it first: mount -i /,
    ],
    [
      `${where.mount} && umount -l -c ${where.mnt}`,
      where.serve,
      /Descriptor 3 is \/dev\/fuse, but not mounted, or not any more\.\n/,
    ],
    [OPEN, serve(port, []), /\/dev\/fd\/3 can only be served in the foreground\.\n +Add -f\./],
    [
      OPEN,
      serve(port, ['-f', '--transport=fuse-native']),
      /--transport fuse-native cannot serve \/dev\/fd\/3.*\n +Use --transport kernel\./,
    ],
    [OPEN, exec, /\/dev\/fd\/3 is mounted already.*\n.*nfs-fuse mount -f\./],
  ];
  for (const [prepare, argv, message] of cases) {
    const outcome = said(await run(becoming(prepare, argv), { timeoutMs: 60_000 }));
    t.equal(outcome.status, argv === exec ? 125 : 1, `${prepare}: ${outcome.stderr}`);
    t.match(outcome.stderr, message);
    t.notMatch(outcome.stderr, STACK_TRACE);
  }
  t.same(where.calls, [], 'the server was not even asked');
});

t.test('nfs-fuse names options that only the helper can pass to the kernel', async (t) => {
  const where = await ground(t);
  const argv = serve(where.server.port, [
    '-f',
    '-o',
    'ro,noexec,allow_other,default_permissions,context=a:b:c',
  ]);
  const serving = await startServing(t, { ...where, serve: argv });
  t.match(
    serving.output,
    /Without effect here: ro, noexec, allow_other, default_permissions, context=\. Only the program that mounts/,
  );
  await mustRun(['umount', where.mnt]);
  t.match(await serving.ended, { status: 0 });
});
