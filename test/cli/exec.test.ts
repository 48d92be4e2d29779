/** `nfs-fuse exec`: the users who may run it, the surroundings of its command, and how it ends. */
import { chmodSync, chownSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { servingProcess } from '../keep/support/serving.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, type Place, type PlaceName } from '../support/places.js';
import { type Background, type Outcome, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { isOver, PATIENCE_MS } from './support/exec.js';
import { STACK_TRACE, said } from './support/product.js';

interface Ground {
  readonly place: Place;
  readonly server: ServeCommand;
  readonly mnt: string;
  /** The command line of `nfs-fuse exec` with these flags, mounting on `mnt`, in the place. */
  argv(command: readonly string[], flags?: readonly string[]): string[];
  exec(command: readonly string[], flags?: readonly string[]): Promise<ReturnType<typeof said>>;
}

async function ground(t: Test, name: PlaceName = 'root'): Promise<Ground> {
  const place = untilEnd(t, await openPlace(name));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mnt = await newMountPoint(place);
  t.teardown(() => isOver(place, mnt));
  const argv = (command: readonly string[], flags: readonly string[] = []) => {
    const options = ['-o', server.mountOptions.join(',')];
    const target = `${server.host}:${server.exportPath}`;
    return place.command([...place.product, 'exec', ...flags, ...options, target, mnt, '--', ...command]);
  };
  return {
    place,
    server,
    mnt,
    argv,
    exec: async (command, flags) => said(await run(argv(command, flags), { cwd: '/' })),
  };
}

/** Starts `argv`, and waits until the command prints "ready". */
async function started(t: Test, argv: readonly string[]): Promise<Background> {
  const program = untilEnd(t, start(argv, { cwd: '/' }));
  await until('the command runs', () => {
    if (program.outcome !== undefined) throw new Error(`it has ended: ${program.output}`);
    return program.output.includes('ready');
  });
  return program;
}

for (const name of ['root', 'userns', 'user'] as const) {
  t.test(`${name}: exec brings what the command has written to the server, and unmounts`, async (t) => {
    const { place, server, mnt, exec } = await ground(t, name);
    writeFileSync(join(server.directory, 'in'), 'content');
    const script = 'cat "$0/in" && id -u && echo written > "$0/out" && grep "$0" /proc/self/mountinfo';
    const { status, stdout, stderr } = await exec(['sh', '-c', script, mnt]);
    t.equal(stderr, '');
    t.equal(status, 0);
    const uid = name === 'user' ? place.owner.uid : 0;
    t.match(
      stdout,
      new RegExp(`^content${uid}\\n.* ${mnt} .* fuse\\.nfs-fuse 127`),
      'mounted, as the same user',
    );
    t.equal(readFileSync(join(server.directory, 'out'), 'utf8'), 'written\n');
    await isOver(place, mnt);
  });
}

t.test('an ordinary user’s mount is visible to the command only, which has no capabilities', async (t) => {
  const { place, mnt, argv } = await ground(t, 'user');
  const script = 'grep CapEff /proc/self/status && echo ready && read -r line; exit 3';
  const program = untilEnd(
    t,
    start(argv(['sh', '-c', script]), { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] }),
  );
  await until('the command runs', () => program.output.includes('ready'));
  t.match(program.output, /CapEff:\s+0{16}$/m);
  t.notOk(mountsOf(process.pid).some(({ path }) => path === mnt));
  t.ok(
    mountsOf(program.pid).some(({ path }) => path === mnt),
    'but the command does',
  );
  t.equal(readFileSync(`/proc/${program.pid}/uid_map`, 'utf8').trim().split(/ +/)[0], `${place.owner.uid}`);
  program.child.stdin?.end('\n');
  t.match(await program.ended, { status: 3 }, 'standard input reaches the command');
});

t.test('an ordinary user keeps the groups that the namespace cannot name, and gets no others', async (t) => {
  const place = untilEnd(t, await openPlace('user'));
  const server = untilEnd(t, await Ganesha.start());
  const { uid } = place.owner;
  const make = (name: string, owner: number, group: number, mode: number) => {
    const path = join(server.directory, name);
    writeFileSync(path, name);
    chownSync(path, owner, group);
    chmodSync(path, mode);
  };
  chmodSync(server.directory, 0o755);
  make('ours', 0, 5000, 0o640);
  make('mine', uid, 5000, 0o640);
  make('nobodys', 0, 65_534, 0o640);
  const mnt = await newMountPoint(place);
  const target = `${server.host}:${server.exportPath}`;
  const exec = async (script: string) => {
    const argv = [...place.product, 'exec', '-o', server.mountOptions.join(','), target, mnt, '--'];
    const inGroup = place
      .command([...argv, 'sh', '-c', script, mnt])
      .map((word) => (word === '--clear-groups' ? '--groups=5000' : word));
    return said(await run(inGroup, { cwd: '/' }));
  };
  t.same(await exec('cat "$0/ours"'), { status: 0, stdout: 'ours', stderr: '' });
  t.match(await exec('cat "$0/nobodys"'), { status: 1, stderr: /Permission denied/ });
  t.same(
    await exec('echo more >> "$0/mine"'),
    { status: 0, stdout: '', stderr: '' },
    'one’s own file of that group',
  );
  await isOver(place, mnt);
});

t.test(
  'exec warns of an export that the server lets this user change, but the kernel does not',
  async (t) => {
    const { server, mnt, exec } = await ground(t, 'user');
    chownSync(server.directory, 0, 0);
    chmodSync(server.directory, 0o1777);
    const touch = ['sh', '-c', 'touch "$0/new"', mnt];
    const refused = await exec(touch);
    t.match(refused, {
      status: 1,
      stderr: /belongs to somebody whom this user namespace does not have \(0:0\)/,
    });
    const [, remedy = ''] = /With -o (uid=\d+,gid=\d+)/.exec(refused.stderr) ?? [];
    t.same(await exec(touch, ['-o', remedy]), { status: 0, stdout: '', stderr: '' });
  },
);

t.test('--map-root-user runs the command as root of its own namespace', async (t) => {
  const { exec } = await ground(t, 'user');
  t.same(await exec(['id', '-u'], ['--map-root-user']), { status: 0, stdout: '0\n', stderr: '' });
});

t.test('--idmap-uid and --idmap-gid may be repeated and hold for the mount', async (t) => {
  const { server, mnt, exec } = await ground(t);
  chmodSync(server.directory, 0o777);
  writeFileSync(join(server.directory, 'old'), '');
  chownSync(join(server.directory, 'old'), 5007, 6008);
  const ranges = ['--idmap-uid', '0:5000:1', '--idmap-uid=7:5007:1', '--idmap-gid', '0:6000:10'];
  const script = 'echo > "$0/new" && stat -c %u:%g "$0/old" "$0/new"';
  const outcome = await exec(['sh', '-c', script, mnt], ranges);
  t.same(outcome, { status: 0, stdout: '7:8\n0:0\n', stderr: '' });
  const { uid, gid } = statSync(join(server.directory, 'new'));
  t.same({ uid, gid }, { uid: 5000, gid: 6000 }, 'on the server');
});

t.test('exec ends with the exit status or the signal of its command', async (t) => {
  const { exec, argv } = await ground(t);
  for (const status of [0, 42]) t.match(await exec(['sh', '-c', `exit ${status}`]), { status });
  const killed = await run(argv(['sh', '-c', 'kill -TERM $$']), { cwd: '/' });
  t.match(killed, { status: null, signal: 'SIGTERM' });
  t.match(await exec(['sh', '-c', 'kill -KILL $$']), { status: 137 });
  t.match(await exec(['sh', '-c', 'kill -SEGV $$']), { status: 139 });
});

t.test('exec names a command that does not exist or is no program', async (t) => {
  const { exec, server, mnt } = await ground(t);
  writeFileSync(join(server.directory, 'text'), 'text');
  const cases: [string[], number, RegExp][] = [
    [['nfs-fuse-no-such-command'], 127, /The command nfs-fuse-no-such-command was not found\./],
    [[join(mnt, 'missing')], 127, /missing was not found\./],
    [[join(mnt, 'text')], 126, /text cannot be executed\./],
    [[mnt], 126, /cannot be executed\./],
    [[], 125, /There is no command to run\./],
  ];
  for (const [command, status, message] of cases) {
    const outcome = await exec(command);
    t.equal(outcome.status, status, command.join(' '));
    t.match(outcome.stderr, message);
    t.notMatch(outcome.stderr, STACK_TRACE);
  }
});

t.test('exec runs a command that lies on the mount, and in a working directory on it', async (t) => {
  const { server, mnt, argv } = await ground(t);
  const script = join(server.directory, 'script');
  writeFileSync(script, '#!/bin/sh\npwd; ls\n');
  chmodSync(script, 0o755);
  const outcome: Outcome = await run(argv(['./script']), { cwd: mnt });
  t.same(said(outcome), { status: 0, stdout: `${mnt}\nscript\n`, stderr: '' });
});

t.test(
  'the command inherits a working directory that is not UTF-8, also if the program lies in it',
  async (t) => {
    const { argv } = await ground(t);
    const script = 'e=$(printf "\\351"); mkdir "$0/w$e"; cd "$0/w$e"; cp "$1" own; shift; exec "$@"';
    for (const command of [['/bin/pwd'], ['./own']]) {
      const folder = untilEnd(t, publicFolder());
      const argument = ['sh', '-c', script, folder.path, '/bin/pwd', ...argv(command)];
      const outcome = await run(argument, { cwd: '/' });
      t.equal(outcome.stderr.toString(), '');
      t.same(outcome.stdout, Buffer.from(`${folder.path}/w\xe9\n`, 'latin1'));
      t.equal(outcome.status, 0);
    }
  },
);

t.test('exec refuses a working directory below the mount point that is not UTF-8', async (t) => {
  const { mnt, argv } = await ground(t);
  const script = 'e=$(printf "\\351"); mkdir "$0/w$e"; cd "$0/w$e"; exec "$@"';
  const outcome = said(await run(['sh', '-c', script, mnt, ...argv(['true'])], { cwd: '/' }));
  t.equal(outcome.status, 125);
  t.match(
    outcome.stderr,
    /^nfs-fuse: The working directory .*\/w\ufffd is not valid UTF-8, and below the mount/,
  );
  t.notMatch(outcome.stderr, STACK_TRACE);
});

t.test('the command gets its arguments unchanged', async (t) => {
  const { exec } = await ground(t);
  const args = ['-o', '--help', '', '1.0', '--', 'a b', '-f'];
  const { stdout } = await exec([
    process.execPath,
    '-p',
    'JSON.stringify(process.argv.slice(1))',
    '--',
    ...args,
  ]);
  t.same(JSON.parse(stdout), args);
});

for (const name of ['root', 'user'] as const) {
  t.test(
    `${name}: the command gets no variables that are not UTF-8, and one warning names them`,
    async (t) => {
      const { argv } = await ground(t, name);
      // Only a shell and env(1) can set it. Without NODE_OPTIONS, because tap's modules fail with such a variable.
      const script = `e=$(printf '\\351'); exec env -u NODE_OPTIONS VALUE="caf$e" "NA$e=1" GOOD=café LETTER=\ufffd "$@"`;
      const show = ['sh', '-c', 'env | grep -aE "^(VALUE|NA|GOOD|LETTER)" | sort'];
      const outcome = said(await run(['sh', '-c', script, 'sh', ...argv(show)], { cwd: '/' }));
      t.equal(outcome.status, 0);
      t.equal(outcome.stdout, 'GOOD=café\nLETTER=\ufffd\n');
      t.equal(outcome.stderr, 'nfs-fuse: Not passed on, because it is not valid UTF-8: VALUE, NA\ufffd.\n');
    },
  );
}

t.test('exec ends with status 125 and runs no command if the mount fails', async (t) => {
  const { place, server } = await ground(t);
  const witness = join(place.folder, 'witness');
  const fails = ['exec', '-o', 'port=1,mountport=1', `${server.host}:/export`, place.folder];
  const outcome = said(await run(place.command([...place.product, ...fails, '--', 'touch', witness])));
  t.equal(outcome.status, 125);
  t.match(outcome.stderr, /refuses connections to port 1/);
  t.notOk(readdirSync(place.folder).includes('witness'));
});

t.test('exec passes signals on to the command', async (t) => {
  const { place, mnt, argv } = await ground(t);
  const signals = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH'] as const;
  const traps = signals.map((signal) => `trap 'echo got ${signal}' ${signal.slice(3)}`).join('; ');
  const script = `${traps}; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done`;
  const program = await started(t, argv(['bash', '-c', script, mnt]));
  for (const signal of signals) {
    program.child.kill(signal);
    await until(signal, () => program.output.includes(`got ${signal}\n`), PATIENCE_MS);
  }
  program.child.kill('SIGTERM');
  t.match(await program.ended, { status: 5, signal: null });
  for (const signal of signals) t.equal(program.output.split(`got ${signal}\n`).length, 2, `${signal} once`);
  await isOver(place, mnt);
});

t.test(
  'if a mount dies that is not kept, the command gets errors, the user a message, and the status is 125',
  async (t) => {
    const { place, mnt, argv } = await ground(t);
    const script = 'cd "$0" && echo ready && while ls . >/dev/null 2>&1; do sleep 0.05; done; echo over';
    const program = await started(t, argv(['sh', '-c', script, mnt], ['--no-keep']));
    const found = await run(['pgrep', '-f', '--', `nfs-fuse\\.js mount .*${mnt}$`]);
    process.kill(Number(found.stdout.toString().trim()), 'SIGKILL');
    const outcome = await program.ended;
    t.match(outcome, { status: 125 });
    t.match(
      outcome.stderr.toString(),
      /The mount on .* has (ended before the command|died) \(killed by SIGKILL\)/,
    );
    await isOver(place, mnt);
  },
);

t.test('if the process of the mount dies, the command goes on, and its status counts', async (t) => {
  const { server, place, mnt, argv } = await ground(t);
  const script =
    'cd "$0" && echo ready && until [ -e stop ]; do ls . >/dev/null || exit 9; sleep 0.05; done; exit 7';
  const program = await started(t, argv(['sh', '-c', script, mnt]));
  for (const _ of [1, 2]) {
    const dead = await servingProcess({ place, path: mnt });
    process.kill(dead, 'SIGKILL');
    await until(
      'another process serves',
      async () => ![0, dead].includes(await servingProcess({ place, path: mnt })),
    );
  }
  writeFileSync(join(server.directory, 'stop'), '');
  const outcome = await program.ended;
  t.match(outcome, { status: 7 });
  t.equal(outcome.stderr.toString().match(/has taken the mount over after/g)?.length, 2, 'the user is told');
  t.notMatch(outcome.stderr.toString(), /The mount on/, 'nobody takes the mount for dead');
  await isOver(place, mnt);
});

t.test('SIGKILL of exec ends a mount, too, that was taken over', async (t) => {
  const { place, mnt, argv } = await ground(t);
  const program = await started(t, argv(['sh', '-c', 'echo ready; exec sleep 600']));
  const dead = await servingProcess({ place, path: mnt });
  process.kill(dead, 'SIGKILL');
  await until(
    'another process serves',
    async () => ![0, dead].includes(await servingProcess({ place, path: mnt })),
  );
  program.child.kill('SIGKILL');
  await isOver(place, mnt);
});

t.test('SIGKILL of exec ends the mount, too', async (t) => {
  const { place, mnt, argv } = await ground(t);
  const program = await started(t, argv(['sh', '-c', 'echo ready; exec sleep 600']));
  program.child.kill('SIGKILL');
  await isOver(place, mnt);
});

t.test('exec gives processes that the command leaves behind time to finish', async (t) => {
  const { server, mnt, exec } = await ground(t);
  const script = 'exec 3> "$0/file"; echo data >&3; (sleep 1; echo more >&3) >/dev/null 2>&1 & exit 0';
  const { status, stderr } = await exec(['sh', '-c', script, mnt]);
  t.equal(status, 0, stderr);
  t.match(stderr, /is in use: detached/);
  t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'data\nmore\n');
});

t.test('exec as process 1 of a container obeys SIGTERM, and leaves no zombies', async (t) => {
  const { place, mnt, argv } = await ground(t);
  const script = `trap 'exit 6' TERM; for i in 1 2 3 4 5; do (sh -c 'sleep 0.1 & exit' &); done
    while [ $(ps -eo ppid=,comm= | grep -c '^ *1 sleep') != 0 ]; do sleep 0.05; done
    until [ $(ps -eo stat= | grep -c Z) = 0 ]; do sleep 0.05; done
    echo ready; while :; do sleep 0.05; done`;
  const container = ['unshare', '-p', '--fork', '--mount-proc', '--kill-child'];
  const program = untilEnd(t, start([...container, ...argv(['bash', '-c', script])], { cwd: '/' }));
  await until('the command runs, and no zombie is left', () => program.output.includes('ready'), PATIENCE_MS);
  const [, init = ''] = /^(\d+)$/m.exec(
    (await run(['pgrep', '-P', String(program.pid)])).stdout.toString(),
  ) ?? ['', ''];
  process.kill(Number(init), 'SIGTERM');
  t.match(await program.ended, { status: 6 });
  await isOver(place, mnt);
});

t.test('exec tells an ordinary user that unshare and fusermount3 are missing', async (t) => {
  const { argv } = await ground(t, 'user');
  const hide = ['unshare', 'fusermount3', 'fusermount']
    .map((name) => `p=$(command -v ${name}) && mount --bind /dev/null $(readlink -f $p);`)
    .join(' ');
  const command = argv(['true']);
  const hidden = ['unshare', '-m', '--propagation', 'private', 'bash', '-c', `${hide} exec "$@"`, 'bash'];
  const outcome = said(await run([...hidden, ...command], { cwd: '/' }));
  t.equal(outcome.status, 125);
  t.match(outcome.stderr, /No namespace of its own can be made: the program unshare .* is missing\./);
  t.match(outcome.stderr, /fusermount3 is not installed/);
});
