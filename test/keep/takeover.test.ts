/** The process of a mount is killed, and programs that use the mount go on: with the program as users start it. */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { statsOf } from '../support/embedded-mount.js';
import { Mount, mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { keepersOf, keepersStartedBy, serversOf, watchersOf } from '../support/watchers.js';
import { servingProcess } from './support/serving.js';

const PATIENCE_MS = 60_000;

async function mounted(
  t: Test,
  name: PlaceName,
  args: readonly string[] = [],
  options: readonly string[] = [],
) {
  const place = untilEnd(t, await openPlace(name));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mount = untilEnd(t, await Mount.start({ source: server, place, args, options }));
  await mount.served();
  return { place, server, mount };
}

/** Ends the serving process, and waits until another one serves. */
async function killOnce(mount: Mount): Promise<void> {
  const dead = await servingProcess(mount);
  process.kill(dead, 'SIGKILL');
  await until('another process serves', async () => {
    const now = await servingProcess(mount);
    return now !== dead && now !== 0;
  });
}

const fails = (program: Background) => {
  if (program.outcome !== undefined) throw new Error(program.output);
};

for (const name of ['root', 'userns', 'user'] as const) {
  t.test(
    `${name}: programs that read, write and sit in a directory go on when the process is killed`,
    async (t) => {
      const { server, mount } = await mounted(t, name);
      const content = Array.from({ length: 200_000 }, (_, line) => `${line}\n`).join('');
      writeFileSync(join(server.directory, 'big'), content);
      await mount.mustRun(['mkdir', 'folder']);
      const agent = await mount.agent();
      const open = await agent.open('folder/held', 0o102);
      await agent.pwrite(open, 'before', 0);
      await agent.fsync(open);
      const program = (script: string) =>
        untilEnd(t, start(mount.place.command(['sh', '-c', script, 'sh', mount.path]), { cwd: '/' }));
      const reader = program(
        'cd "$1"; echo in; while sum=$(cksum < big); do echo "$sum"; sleep 0.1; done; echo failed',
      );
      const sitter = program(
        'cd "$1/folder"; echo in; while ls > /dev/null && : > made && rm made; do sleep 0.1; done; echo failed',
      );
      const writer = program(
        'cd "$1"; echo in; n=0; while printf "%s\\n" "$n" | dd of=log oflag=append,sync conv=notrunc status=none; do n=$((n + 1)); echo "$n" > /dev/null; sleep 0.05; done; echo failed',
      );
      for (const one of [reader, sitter, writer])
        await until('it works', () => one.output.startsWith('in\n'));
      for (const _ of [1, 2, 3]) {
        await killOnce(mount);
        const sums = reader.output.length;
        await until('the reader goes on', () => {
          for (const one of [reader, sitter, writer]) fails(one);
          return reader.output.length > sums;
        });
      }
      for (const one of [reader, sitter, writer]) {
        t.notMatch(one.output, /failed/);
        one.signal('SIGKILL');
        await one.ended;
      }
      const sums = new Set(reader.output.split('\n').filter((line) => /^\d+ \d+$/.test(line)));
      t.equal(sums.size, 1, 'the same content each time');
      const lines = readFileSync(join(server.directory, 'log'), 'utf8').split('\n').slice(0, -1);
      t.same(
        lines,
        lines.map((_, line) => String(line)),
        'every line once',
      );
      t.equal(await agent.pwrite(open, ' after', 6), 6);
      await agent.fsync(open);
      await agent.closeFd(open);
      t.equal(readFileSync(join(server.directory, 'folder/held'), 'utf8'), 'before after');
      const takeovers = (await statsOf(mount)).takeovers;
      t.match(takeovers, { kept: true, deaths: 3, restarts: 0, last: { kind: 'death', files: 0 } });
      t.equal(
        mount.log.match(/that served .* died; process \d+ has taken the mount over after \d+ ms\./g)?.length,
        3,
      );
      await mount.unmount();
      await until('nobody is left', () => watchersOf(mount.path).length === 0, PATIENCE_MS);
      t.notMatch(mount.log, /was unmounted|lost/);
    },
  );
}

t.test('a keeper that is killed is replaced, and the new one keeps the mount', async (t) => {
  const { mount } = await mounted(t, 'root');
  const serving = await servingProcess(mount);
  const [keeper = 0] = keepersOf(mount.path);
  process.kill(keeper, 'SIGKILL');
  await until('there is another', () => keepersStartedBy(serving, mount.path).some((pid) => pid !== keeper));
  await killOnce(mount);
  t.equal(await mount.mustRun(['ls']), '');
});

t.test('keeper and process killed: the mount is dead, and umount takes it away', async (t) => {
  const { place, mount } = await mounted(t, 'root');
  await mount.kill();
  const looked = await run(place.command(['ls', mount.path]), { cwd: '/' });
  t.match(looked.stderr.toString(), /Transport endpoint is not connected/);
  t.match(await run(place.command([...place.product, 'umount', mount.path]), { cwd: '/' }), { status: 0 });
});

t.test('SIGTERM ends a mount in good order that was taken over, and writes back what is there', async (t) => {
  const { server, mount } = await mounted(t, 'root');
  await killOnce(mount);
  await mount.mustRun(['sh', '-c', 'echo content > file']);
  process.kill(await servingProcess(mount), 'SIGTERM');
  await until('it is unmounted', () => mount.entry === undefined, PATIENCE_MS);
  t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'content\n');
  await until('nobody is left', () => watchersOf(mount.path).length === 0, PATIENCE_MS);
  t.notMatch(mount.log, /was unmounted/, 'nobody takes it for dead');
});

t.test('SIGTERM while a mount is taken over ends it when its data has reached the server', async (t) => {
  const { server, mount } = await mounted(t, 'root');
  const agent = await mount.agent();
  const fd = await agent.open('file', 0o102);
  await agent.pwrite(fd, 'written', 0);
  const dead = await servingProcess(mount);
  process.kill(dead, 'SIGSTOP');
  await server.stop();
  process.kill(dead, 'SIGKILL');
  await until('the next process waits for the server', () => mount.log.includes('Trying again'));
  const [next = 0, ...others] = serversOf(mount.path).filter((pid) => pid !== dead);
  t.same(others, []);
  process.kill(next, 'SIGTERM');
  await server.start();
  await until('it is unmounted', () => mount.entry === undefined, PATIENCE_MS);
  await mount.closeAgents();
  await until('nobody is left', () => watchersOf(mount.path).length === 0, PATIENCE_MS);
  t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'written');
  t.notMatch(mount.log, /was unmounted|is lost/);
});

t.test('a clean end soon after a takeover leaves no locks for the next mount to release', async (t) => {
  const { server, mount } = await mounted(t, 'root');
  const { place, path } = mount;
  writeFileSync(join(server.directory, 'file'), 'content');
  const locks = ['import fcntl, sys, time', 'f = open(sys.argv[1], "r+")', 'fcntl.lockf(f, fcntl.LOCK_EX)'];
  const script = [...locks, 'print("locked", flush=True)', 'time.sleep(600)'].join('\n');
  const holder = untilEnd(
    t,
    start(place.command(['/usr/bin/python3', '-c', script, join(path, 'file')]), { cwd: '/' }),
  );
  await until('it is locked', () => holder.output === 'locked\n');
  await killOnce(mount);
  holder.signal('SIGKILL');
  await holder.ended;
  const ask = async (...args: readonly string[]): Promise<string> =>
    mustRun(place.command([...place.product, 'locks', ...args, path]), { cwd: '/' });
  await until('the kernel has closed the file', async () => JSON.parse(await ask('--json')).held === 0);
  const pid = await servingProcess(mount);
  await mustRun(place.command(['umount', path]), { cwd: '/' });
  await until('the process has ended', () => !existsSync(`/proc/${pid}`));
  t.equal(await ask('--release-left'), 'Released 0 locks.\n');
});

t.test('locks of programs that live are not released when the process dies', async (t) => {
  const { server, mount, place } = await mounted(t, 'root');
  const other = untilEnd(t, await Mount.start({ source: server, place }));
  await other.served();
  const lock =
    'import fcntl, sys, time; f = open(sys.argv[1], "r+"); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print("locked", flush=True); time.sleep(600)';
  await mount.mustRun(['sh', '-c', 'echo content > file']);
  const locking = (of: Mount) =>
    untilEnd(t, start(place.command(['/usr/bin/python3', '-c', lock, join(of.path, 'file')]), { cwd: '/' }));
  const holder = locking(mount);
  await until('it is locked', () => holder.output === 'locked\n');
  await killOnce(mount);
  const rival = locking(other);
  t.match(await rival.ended, { status: 1, stderr: /BlockingIOError|Resource temporarily unavailable/ });
  holder.signal('SIGKILL');
  await holder.ended;
  await until('it is free', async () => {
    const next = start(
      place.command(['/usr/bin/python3', '-c', lock.replace('600', '0'), join(other.path, 'file')]),
      {
        cwd: '/',
      },
    );
    return (await next.ended).status === 0;
  });
});

t.test('a mount in the background tells its takeovers in stats, in check and in the journal', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const path = await newMountPoint(place);
  t.teardown(() => run(place.command(['umount', '-l', path]), { cwd: '/' }));
  const target = `${server.host}:${server.exportPath}`;
  const nfsFuse = (...args: string[]) => place.command([...place.product, ...args]);
  await mustRun(nfsFuse('mount', '-o', server.mountOptions.join(','), target, path), { cwd: '/' });
  const mount = { place, path };
  const dead = await servingProcess(mount);
  process.kill(dead, 'SIGKILL');
  t.equal(await mustRun(['ls', path]), '', 'a program that comes meanwhile waits');
  await until('another process serves', async () => ![0, dead].includes(await servingProcess(mount)));
  const stats = await mustRun(nfsFuse('stats', path), { cwd: '/' });
  t.match(
    stats,
    new RegExp(`Taken over: 1 times after a death, .* from process ${dead}, within \\d+ ms, nothing lost`),
  );
  t.match(
    stats,
    new RegExp(`Last message .*The process ${dead} that served ${path} died; process \\d+ has taken`),
  );
  t.match(
    await mustRun(nfsFuse('check', '--mount', path), { cwd: '/' }),
    /answers, and so does its server; taken over 1 times after a death, last at .* within \d+ ms\n$/,
  );
  await mustRun(nfsFuse('umount', path), { cwd: '/' });
  t.notOk(mountsOf(process.pid).some((entry) => entry.path === path));
  await until('nobody is left', () => watchersOf(path).length === 0, PATIENCE_MS);
});

t.test(
  'a log file by a relative path, after a rotation as well, gets the messages of the next process',
  async (t) => {
    const place = untilEnd(t, await openPlace('root'));
    const server = untilEnd(t, await ServeCommand.start(place));
    const path = await newMountPoint(place);
    t.teardown(() => run(place.command(['umount', '-l', path]), { cwd: '/' }));
    const target = `${server.host}:${server.exportPath}`;
    const args = ['mount', '--log-file', 'log', '-o', server.mountOptions.join(','), target, path];
    await mustRun(place.command([...place.product, ...args]), { cwd: place.folder });
    const mount = { place, path };
    const log = join(place.folder, 'log');
    for (const round of [1, 2]) {
      const dead = await servingProcess(mount);
      if (round === 2) {
        renameSync(log, `${log}.old`);
        process.kill(dead, 'SIGHUP');
        await until('the log is opened anew', () => existsSync(log));
      }
      process.kill(dead, 'SIGKILL');
      const message = `The process ${dead} that served ${path} died; process`;
      await until('it is told', () => readFileSync(log, 'utf8').includes(message));
    }
    await mustRun(place.command([...place.product, 'umount', path]), { cwd: '/' });
  },
);

t.test('a mount whose processes die again and again is given up, and the journal says why', async (t) => {
  const { mount } = await mounted(t, 'root');
  let isThere = true;
  const killing = (async () => {
    while (isThere) {
      const found = await run(['pgrep', '-f', '--', `nfs-fuse\\.js mount .*${mount.path}$`]);
      for (const pid of found.stdout.toString().split('\n').filter(Boolean))
        await run(['kill', '-KILL', pid]);
    }
  })();
  await until('it is given up', () => mount.entry === undefined, PATIENCE_MS);
  isThere = false;
  await killing;
  await until('it is said', () => mount.log.includes('has ended 10 times before it served'), PATIENCE_MS);
  t.match(
    mount.log,
    /died, and .* was unmounted\. Data that was not written back is lost\. Nothing has taken it over: /,
  );
});
