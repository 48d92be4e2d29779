/**
 * The surroundings that the command inherits from its starter: too few descriptors, a working directory that is gone,
 * descriptors that are not its own, and, with `nfs-fuse exec`, capabilities.
 */
import { mkdirSync, readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { lackBehind } from '../../lib/base/surroundings.js';
import { MountError } from '../../lib/fuse/index.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { run, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { type Said, STACK_TRACE, said } from './support/product.js';

interface Ground {
  readonly place: Place;
  readonly folder: string;
  readonly mnt: string;
  readonly options: string;
  /** Runs a bash script in the place; "$@" is `nfs-fuse` with the arguments that follow. */
  bash(script: string, ...args: string[]): Promise<Said>;
}

async function ground(t: Test, name: PlaceName = 'root'): Promise<Ground> {
  const place = untilEnd(t, await openPlace(name));
  const scratch = untilEnd(t, publicFolder());
  const served = join(scratch.path, 'served');
  mkdirSync(served);
  const server = untilEnd(t, await EmbeddedServer.start({ path: served }));
  const mnt = await newMountPoint(place);
  const isMounted = () => mountsOf(place.namespacePid).some(({ path }) => path === mnt);
  t.teardown(() =>
    isMounted() ? run(place.command([...place.product, 'umount', mnt]), { cwd: '/' }) : undefined,
  );
  return {
    place,
    folder: place.folder,
    mnt,
    options: `port=${server.port},mountport=${server.port},nlmport=${server.port}`,
    bash: async (script, ...args) => {
      // The test runner's code in every Node process is no part of the product.
      const plain = ['env', '-u', 'NODE_OPTIONS'];
      const argv = [...plain, 'bash', '-c', script, 'bash', ...place.product, ...args];
      return said(await run(place.command(argv), { cwd: '/' }));
    },
  };
}

t.test('a lack of descriptors is reported in two lines, whatever step it stops', async (t) => {
  const { mnt, options, bash } = await ground(t);
  let told = 0;
  for (const limit of [24, 40, 60, 76, 92, 256]) {
    const command = ['mount', '-o', options, '127.0.0.1:/export', mnt];
    const outcome = await bash(`ulimit -n ${limit}; exec "$@"`, ...command);
    if (outcome.status === 0) {
      t.match(await bash('exec "$@"', 'umount', mnt), { status: 0 }, `${limit} are enough`);
      continue;
    }
    told += 1;
    t.equal(outcome.status, 1);
    t.match(outcome.stderr, /^nfs-fuse: Too many open files: .*\n {10}Raise the limit .*\n$/, `${limit}`);
  }
  t.ok(told > 0, `${told} limits were too low`);
});

t.test('a lack of descriptors is recognized behind every error that it causes', (t) => {
  const missing = Object.assign(new Error('EMFILE: too many open files, open'), { code: 'EMFILE' });
  t.match(lackBehind(new Error('connecting failed', { cause: missing })), { message: /this process/ });
  t.match(lackBehind(Object.assign(new Error('spawn'), { code: 'ENFILE' })), { message: /this machine/ });
  t.match(lackBehind(new MountError('failed', 'socketpair failed: EMFILE')), { remedy: /ulimit -n/ });
  t.equal(lackBehind(new Error('something else')), undefined);
  t.end();
});

t.test('a removed working directory is reported, and only relative paths need it', async (t) => {
  const { folder, mnt, options, bash } = await ground(t);
  // A command that inherits a descriptor reads its command line itself, others leave that to the serving copy.
  const closeAll = `for fd in /proc/self/fd/*; do fd=\${fd##*/}; ((fd < 3)) || eval "exec $fd>&-"; done`;
  const enter = `mkdir '${folder}/gone'; cd '${folder}/gone'; rmdir '${folder}/gone'`;
  const goneWith = (descriptors: string, args: readonly string[]) =>
    bash(`${enter}; ${closeAll}; ${descriptors}; exec "$@"`, ...args);
  const gone = (...args: string[]) => goneWith(':', args);
  const target = '127.0.0.1:/export';
  for (const args of [
    ['mount', '-o', options, target, 'mnt'],
    ['umount', 'mnt'],
    ['serve', '.'],
    ['mount', '-o', options, '--log-file', 'log', target, mnt],
  ]) {
    for (const descriptors of [':', 'exec 7</dev/null']) {
      const outcome = await goneWith(descriptors, args);
      t.equal(outcome.status, 1, `${args.join(' ')} with ${descriptors}`);
      t.match(
        outcome.stderr,
        /^nfs-fuse: The working directory does not exist any more\.\n {10}Go to another/,
      );
      t.notMatch(outcome.stderr, STACK_TRACE);
    }
  }
  t.match(await gone('--version'), { status: 0, stderr: '' });
  t.same(await gone('mount', '-o', options, target, mnt), { status: 0, stdout: '', stderr: '' });
  t.match(await gone('umount', mnt), { status: 0, stderr: '' });
});

/** Processes that have `file` open. */
function holders(file: string): string[] {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readdirSync(`/proc/${pid}/fd`).some((fd) => {
          try {
            return readlinkSync(`/proc/${pid}/fd/${fd}`) === file;
          } catch {
            return false;
          }
        });
      } catch {
        return false;
      }
    });
}

t.test('a mount in the background holds none of the descriptors of its command', async (t) => {
  const { folder, mnt, options, bash } = await ground(t);
  const file = join(folder, 'inherited');
  // 20 and 300 lie behind gaps.
  const script = `exec 3>'${file}' 15>'${file}' 20>'${file}' 300>'${file}'; exec "$@"`;
  t.same(await bash(script, 'mount', '-o', options, '127.0.0.1:/export', mnt), {
    status: 0,
    stdout: '',
    stderr: '',
  });
  t.same(holders(file), [], 'neither the mount nor its watcher has it open');
});

for (const name of ['root', 'user'] satisfies PlaceName[]) {
  t.test(`${name}: the command of nfs-fuse exec gets only the standard streams`, async (t) => {
    const { folder, mnt, options, bash } = await ground(t, name);
    const file = join(folder, 'inherited');
    const script = `exec 20>'${file}' 300>'${file}'; exec "$@"`;
    const target = ['exec', '-o', options, '127.0.0.1:/export', mnt, '--'];
    const { status, stdout } = await bash(script, ...target, 'sh', '-c', 'ls -l /proc/$$/fd');
    t.equal(status, 0);
    t.notMatch(stdout, /inherited/);
    await until('nobody has it open', () => holders(file).length === 0);
  });
}

t.test('user: the command of nfs-fuse exec has no capability, nor one to inherit', async (t) => {
  const { mnt, options, bash } = await ground(t, 'user');
  const command = ['exec', '-o', options, '127.0.0.1:/export', mnt, '--', 'cat', '/proc/self/status'];
  const { status, stdout } = await bash('exec "$@"', ...command);
  t.equal(status, 0);
  const sets = [...stdout.matchAll(/^Cap(Inh|Prm|Eff|Amb):\t(.*)$/gm)].map(([, set, bits]) => [set, bits]);
  const none = '0000000000000000';
  t.same(sets, [
    ['Inh', none],
    ['Prm', none],
    ['Eff', none],
    ['Amb', none],
  ]);
});
