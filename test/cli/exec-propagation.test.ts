/** The namespace of `nfs-fuse exec` follows the machine's mounts where those are shared, as systemd has them, and adds nothing to them. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { mountsOf, newMountPoint } from '../support/mount.js';
import { openPlace, WITHOUT_FUSE } from '../support/places.js';
import { mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const has = (pid: number, path: string): boolean => mountsOf(pid).some((entry) => entry.path === path);

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

t.test('mounts of the machine come and go there, and the mount of exec is nowhere else', async (t) => {
  const root = untilEnd(t, await openPlace('root'));
  const user = untilEnd(t, await openPlace('user'));
  const [ofRoot, ofUser] = [
    untilEnd(t, await ServeCommand.start(root)),
    untilEnd(t, await ServeCommand.start(user)),
  ];
  const [elsewhere, mnt] = [await newMountPoint(root), await newMountPoint(user)];
  const script = `${WITHOUT_FUSE}; mount --make-rshared / && echo shared && sleep infinity`;
  const machine = untilEnd(t, start(['unshare', '-m', 'sh', '-c', script]));
  await until('the mounts are shared', () => machine.output.includes('shared'));
  const inMachine = (argv: readonly string[]) => ['nsenter', `--mount=/proc/${machine.pid}/ns/mnt`, ...argv];
  const asRoot = (...args: string[]) => inMachine(root.command([...root.product, ...args]));
  const mount = ['mount', '-o', ofRoot.mountOptions.join(','), `${ofRoot.host}:/export`, elsewhere];
  t.teardown(() => run(inMachine(['umount', '-l', elsewhere])));
  await mustRun(asRoot(...mount), { cwd: '/' });

  const command = ['sh', '-c', 'echo ready; until [ -e "$0/go" ]; do sleep 0.1; done', mnt];
  const options = ['-o', ofUser.mountOptions.join(',')];
  const exec = ['exec', ...options, `${ofUser.host}:/export`, mnt, '--', ...command];
  const program = untilEnd(t, start(inMachine(user.command([...user.product, ...exec])), { cwd: '/' }));
  await until('the command runs', () => {
    if (program.outcome !== undefined) throw new Error(`it has ended: ${program.output}`);
    return program.output.includes('ready');
  });
  t.ok(has(program.pid, mnt));
  t.ok(has(program.pid, elsewhere), 'it began with what was there');
  t.notOk(has(machine.pid, mnt), 'its own mount is in its namespace alone');

  const { pid } = JSON.parse(await mustRun(asRoot('stats', '--json', elsewhere), { cwd: '/' })) as {
    pid: number;
  };
  const unmounted = await run(asRoot('umount', elsewhere), { cwd: '/' });
  t.equal(unmounted.stderr.toString(), '', 'no other namespace has it');
  t.equal(unmounted.status, 0);
  t.notOk(has(program.pid, elsewhere));
  await until('the process of that mount has ended', () => !isRunning(pid));

  await mustRun(asRoot(...mount), { cwd: '/' });
  t.ok(has(program.pid, elsewhere), 'a new mount is seen, too');
  await mustRun(asRoot('umount', elsewhere), { cwd: '/' });
  mkdirSync(join(ofUser.directory, 'go'));
  t.match(await program.ended, { status: 0 });
  t.notOk(has(machine.pid, mnt));
});
