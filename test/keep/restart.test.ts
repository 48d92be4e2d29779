/** `nfs-fuse restart`: another process goes on with a mount in good order, and programs notice nothing. */
import { chmodSync, existsSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { statsOf } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { keepersOf, watchersOf } from '../support/watchers.js';
import { servingProcess } from './support/serving.js';

const PATIENCE_MS = 60_000;

async function mounted(t: Test, name: PlaceName, args: readonly string[] = []) {
  const place = untilEnd(t, await openPlace(name));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mount = untilEnd(t, await Mount.start({ source: server, place, args }));
  await mount.served();
  const restart = async (...more: string[]) => {
    const { status, stderr } = await run(place.command([...place.product, 'restart', mount.path, ...more]), {
      cwd: '/',
    });
    return { status, stderr: stderr.toString() };
  };
  return { place, server, mount, restart };
}

/** Appends numbered lines with a small pause, and keeps what is not written yet in memory. */
const WRITER = `
import os, sys, time
f = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY)
print('writing', flush=True)
n = 0
while not os.path.exists(sys.argv[2]):
    os.write(f, b'%d\\n' % n)
    n += 1
    time.sleep(0.002)
os.close(f)
print(n, flush=True)
`;

for (const name of ['root', 'userns', 'user'] as const) {
  t.test(`${name}: a writer goes on through restarts, and every byte arrives once`, async (t) => {
    const { place, server, mount, restart } = await mounted(t, name);
    const stop = join(place.folder, 'stop');
    const at = join(mount.path, 'file');
    const writer = untilEnd(
      t,
      start(place.command(['/usr/bin/python3', '-c', WRITER, at, stop]), { cwd: '/' }),
    );
    await until('it writes', () => {
      if (writer.outcome !== undefined) throw new Error(writer.output);
      return writer.output.startsWith('writing');
    });
    for (const _ of [1, 2, 3]) {
      const before = await servingProcess(mount);
      t.match(await restart(), {
        status: 0,
        stderr: new RegExp(`has gone on with .* in place of process ${before}`),
      });
      t.not(await servingProcess(mount), before);
      t.equal(writer.outcome, undefined, writer.output);
    }
    writeFileSync(stop, '');
    t.match(await writer.ended, { status: 0 });
    const lines = Number(writer.output.split('\n')[1]);
    const expected = Array.from({ length: lines }, (_, line) => `${line}\n`).join('');
    t.ok(readFileSync(join(server.directory, 'file'), 'utf8') === expected, `${lines} lines`);
    t.match((await statsOf(mount)).takeovers, {
      kept: true,
      deaths: 0,
      restarts: 3,
      last: { kind: 'restart', files: 0 },
    });
    await mount.unmount();
    await until('nobody is left', () => watchersOf(mount.path).length === 0, PATIENCE_MS);
    t.notMatch(mount.log, /died|lost|was unmounted/);
  });
}

t.test('another program goes on, and the keeper starts that one again', async (t) => {
  const { place, mount, restart } = await mounted(t, 'root');
  const other = join(place.folder, 'nfs-fuse.js');
  symlinkSync(place.product.at(-1) ?? '', other);
  t.match(await restart('--with', other), { status: 0 });
  const isOther = async () => {
    const pid = await servingProcess(mount);
    return pid !== 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(other);
  };
  t.ok(await isOther(), 'the other program serves');
  process.kill(await servingProcess(mount), 'SIGKILL');
  await until('it serves again', isOther);
});

t.test('if the other program does not start, the mount is served as before', async (t) => {
  const { place, mount, restart } = await mounted(t, 'root');
  const other = join(place.folder, 'other');
  const before = await servingProcess(mount);
  for (const script of [
    'exit 3',
    'exec 3<&-; exec sleep 0.1',
    'echo "failed the moon is new" >&7; sleep 5',
  ]) {
    writeFileSync(other, `#!/bin/sh\n${script}\n`);
    chmodSync(other, 0o755);
    const { status, stderr } = await restart('--with', other);
    t.equal(status, 1);
    t.match(
      stderr,
      /is served as before\. The new process (has ended|cannot go on with it: the moon is new)/,
    );
    t.equal(await servingProcess(mount), before);
    t.equal(await mount.mustRun(['ls']), '');
  }
  t.match(await restart('--with', join(place.folder, 'missing')), {
    status: 1,
    stderr: /cannot be read \(ENOENT\)/,
  });
  t.match(await restart(), { status: 0 }, 'and a good one goes on afterwards');
  t.not(await servingProcess(mount), before);
});

t.test(
  'the old process is killed after a restart that failed: the keeper starts the old program',
  async (t) => {
    const { place, mount, restart } = await mounted(t, 'root');
    const other = join(place.folder, 'other');
    writeFileSync(other, '#!/bin/sh\nexit 3\n');
    chmodSync(other, 0o755);
    t.match(await restart('--with', other), { status: 1 });
    const before = await servingProcess(mount);
    process.kill(before, 'SIGKILL');
    await until('another process serves', async () => ![0, before].includes(await servingProcess(mount)));
  },
);

t.test('the other program dies when it was told to go on: the old one takes over again', async (t) => {
  const { place, mount, restart } = await mounted(t, 'root');
  const other = join(place.folder, 'other');
  const before = await servingProcess(mount);
  writeFileSync(other, '#!/bin/sh\necho ready >&7; read -r line <&7; kill -KILL $$\n');
  chmodSync(other, 0o755);
  t.match(await restart('--with', other), { status: 1, stderr: /had taken the mount over already/ });
  await until('another process serves', async () => ![0, before].includes(await servingProcess(mount)));
  t.equal(await mount.mustRun(['ls']), '');
  await until('there is one keeper', () => keepersOf(mount.path).length === 1);
});

t.test('the old process dies while it hands the mount over: the keeper starts another one', async (t) => {
  const { place, mount } = await mounted(t, 'root');
  const other = join(place.folder, 'other');
  for (const script of [
    // Before it has let go. The new process of this program ends by itself then.
    'echo ready >&7; kill -KILL $PPID; cat <&7 >/dev/null',
    // Afterwards: the keeper waits for the end of the new process.
    'echo ready >&7; read -r line <&7; kill -KILL $PPID; sleep 1',
  ]) {
    const before = await servingProcess(mount);
    writeFileSync(other, `#!/bin/sh\n${script}\n`);
    chmodSync(other, 0o755);
    const asking = start(place.command([...place.product, 'restart', mount.path, '--with', other]), {
      cwd: '/',
    });
    await until('another process serves', async () => ![0, before].includes(await servingProcess(mount)));
    await asking.ended;
    t.equal(await mount.mustRun(['ls']), '');
    await until('there is one keeper', () => keepersOf(mount.path).length === 1);
  }
});

t.test('a mount that is being handed over is not handed over to another process as well', async (t) => {
  const { place, restart } = await mounted(t, 'root');
  const other = join(place.folder, 'other');
  const [begun, stop] = [join(place.folder, 'begun'), join(place.folder, 'stop')];
  writeFileSync(other, `#!/bin/sh\n: > ${begun}\nwhile [ ! -e ${stop} ]; do sleep 0.1; done\nexit 3\n`);
  chmodSync(other, 0o755);
  const one = restart('--with', other);
  await until('the first one has begun', () => existsSync(begun));
  t.match(await restart(), { status: 1, stderr: /ends, or is handed over, already/ });
  writeFileSync(stop, '');
  t.match(await one, { status: 1 });
  t.match(await restart(), { status: 0 });
});

t.test('a mount that is not kept is not restarted', async (t) => {
  const { mount, restart } = await mounted(t, 'root', ['--no-keep']);
  t.match(await restart(), { status: 1, stderr: /This mount is not kept/ });
  t.equal(await mount.mustRun(['ls']), '');
});
