/** Mounts that a mounter serves: a process without privilege, beyond the life of the driver that has made them. */
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { removeStaged } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';
import { keepersStartedBy } from '../support/watchers.js';
import { capability, Driver, type Failure, PodVolume } from './support/csi-client.js';
import { failsWithCodes } from './support/failure-codes.js';
import { Mounter } from './support/mounter.js';

const root = untilEnd(t, await openPlace('root'));
const user = untilEnd(t, await openPlace('user'));
t.teardown(removeStaged);
const served = untilEnd(t, await ServeCommand.start(root));
chmodSync(served.directory, 0o777);
const states = untilEnd(t, publicFolder());
chmodSync(states.path, 0o777);
const mounter = untilEnd(t, new Mounter(user, join(states.path, 'states')));

// Containers come in by another way than through the folders of the kubelet, which are for root.
mkdirSync(join(root.folder, 'pods'), { mode: 0o755 });
await mounter.start();
const driver = await Driver.start(t, root, ['--node', '--node-id', 'node1', '--mounter', mounter.socket]);
const volumeOf = (pod: string) => PodVolume.on(driver, served, '', pod);

/** A program that writes each line that it is sent to a file that it keeps open. */
function writerOn(t: Test, { target }: PodVolume): Background {
  const script =
    'exec 3> "$0/open" && while read -r line; do echo "$line" >&3 && echo "$line" || exit 7; done';
  return untilEnd(t, start(['sh', '-c', script, target], { stdio: ['pipe', 'pipe', 'pipe'] }));
}

async function writes(writer: Background, line: string): Promise<void> {
  writer.child.stdin?.write(`${line}\n`);
  await until(`it writes ${line}`, () => {
    if (writer.outcome) throw new Error(writer.output);
    return writer.output.includes(`${line}\n`);
  });
}

const optionsAt = (path: string) => mountsOf(process.pid).find((entry) => entry.path === path)?.options ?? '';
const statusOf = (pid: number) => readFileSync(`/proc/${pid}/status`, 'latin1');

t.test('the mount is made by the driver, and served by a process without privilege', async (t) => {
  const volume = volumeOf('plain');
  mkdirSync(dirname(volume.target), { recursive: true, mode: 0o755 });
  await volume.publish();
  await volume.publish();
  const status = statusOf(await volume.pid());
  t.match(status, new RegExp(`^Uid:\\s+${user.owner.uid}\\s`, 'm'));
  t.match(status, /^CapEff:\s*0+$/m);
  writeFileSync(join(volume.target, 'as root'), 'content');
  chmodSync(volume.target, 0o777);
  const other = ['setpriv', '--reuid=4321', '--regid=4321', '--clear-groups'];
  await mustRun([...other, 'sh', '-c', 'echo content > "$0/as another"', volume.target]);
  t.match((await volume.stats()).volume_condition, { abnormal: false });
  await volume.unpublish();
  t.notOk(existsSync(volume.target));
  t.equal(readFileSync(join(served.directory, 'as another'), 'utf8'), 'content\n');
  t.same(await volume.unpublish(), {});
});

t.test('the driver is killed and started again, and programs notice nothing', async (t) => {
  const volume = volumeOf('restart');
  await volume.publish();
  const writer = writerOn(t, volume);
  await writes(writer, 'before');
  const pid = await volume.pid();
  await driver.end('SIGKILL');
  await writes(writer, 'meanwhile');
  await driver.start();
  await volume.publish();
  await writes(writer, 'after');
  t.equal(await volume.pid(), pid);
  writer.child.stdin?.end();
  await writer.ended;
  await volume.unpublish();
  t.equal(readFileSync(join(served.directory, 'open'), 'utf8'), 'before\nmeanwhile\nafter\n');
});

t.test(
  'the process that serves is killed, alone and with its keeper, and programs notice nothing',
  async (t) => {
    const volume = volumeOf('killed');
    await volume.publish();
    const writer = writerOn(t, volume);
    await writes(writer, 'before');
    const first = await volume.pid();
    process.kill(first, 'SIGKILL');
    await writes(writer, 'the keeper goes on');
    await until('another process serves', async () => (await volume.pid().catch(() => first)) !== first);
    const second = await volume.pid();
    process.kill(second, 'SIGSTOP');
    for (const keeper of keepersStartedBy(second, '/dev/fd/3')) process.kill(keeper, 'SIGKILL');
    process.kill(second, 'SIGKILL');
    await writes(writer, 'the mounter goes on');
    t.match(mounter.output, /its processes have died. Another one goes on with it/);
    writer.child.stdin?.end();
    t.match(await writer.ended, { status: 0 });
    await volume.unpublish();
    t.equal(
      readFileSync(join(served.directory, 'open'), 'utf8'),
      'before\nthe keeper goes on\nthe mounter goes on\n',
    );
  },
);

t.test('a mount that cannot be served is not there, and the code and the words tell why', (t) =>
  failsWithCodes(t, volumeOf('wrong')),
);

t.test('set-user-ID programs and device nodes of the server have no power over the node', async (t) => {
  const volume = volumeOf('powers');
  for (const flag of ['suid', 'dev', 'allow_suid', 'allow_dev', 'ro,suid,nosuid']) {
    const asked = { volume_capability: capability([...volume.flags, flag]) };
    t.match(await volume.publishFailure(asked), {
      code: 'INVALID_ARGUMENT',
      details: /A volume cannot have/,
    });
  }
  const context = { ...volume.context, mountOptions: 'dev' };
  t.match(await volume.publishFailure({ volume_context: context }), { code: 'INVALID_ARGUMENT' });
  t.notOk(volume.isMounted);
  await volume.publish();
  t.match(optionsAt(volume.target), /nosuid,nodev/);
  await volume.unpublish();
});

t.test('the options of the driver itself can give volumes these powers', async (t) => {
  const args = ['--node', '--node-id', 'node1', '--mounter', mounter.socket, '-o', 'suid,dev'];
  const generous = await Driver.start(t, root, args);
  const volume = PodVolume.on(generous, served, '', 'generous');
  await volume.publish();
  t.notMatch(optionsAt(volume.target), /nosuid|nodev/);
  await volume.unpublish();
});

t.test('options that no program can be given are refused, and other mounts go on', async (t) => {
  const other = volumeOf('other');
  await other.publish();
  const volume = volumeOf('nul');
  const asked = { volume_capability: capability([...volume.flags, 'x-a\0b']) };
  t.match(await volume.publishFailure(asked), { code: 'INVALID_ARGUMENT', details: /NUL/ });
  const server = { volume_context: { ...volume.context, server: 'a\0b' } };
  t.match(await volume.publishFailure(server), { code: 'INVALID_ARGUMENT' });
  t.notOk(volume.isMounted);
  await mustRun(['ls', other.target]);
  await other.unpublish();
});

t.test('unpublishing waits until data is on the server', async (t) => {
  const slow = untilEnd(t, await Ganesha.start());
  chmodSync(slow.directory, 0o777);
  const volume = PodVolume.on(driver, slow, '', 'slow');
  await volume.publish();
  const file = join(slow.directory, 'large');
  const writer = start(['sh', '-c', 'exec cat /dev/zero > "$0/large"', volume.target]);
  await until('it is writing', () => existsSync(file) && statSync(file).size > 5_000_000);
  slow.freeze(true);
  const before = statSync(file).size;
  t.ok((await volume.unwritten()) > 0, 'some of it is on its way');
  writer.signal('SIGKILL');
  const late = volume.unpublishFailure(3_000);
  const quick = volumeOf('quick');
  await quick.publish();
  await quick.unpublish();
  t.match(await late, { code: /DEADLINE_EXCEEDED|FAILED_PRECONDITION|INTERNAL/ });
  slow.freeze(false);
  await writer.ended;
  await until('it is unpublished', async () => {
    const failure = await volume.unpublish().catch((error: unknown) => error);
    if (failure instanceof Error && !/ABORTED|in use/.test(failure.message)) throw failure;
    return !(failure instanceof Error);
  });
  t.ok(statSync(file).size > before, 'it is there');
});

t.test('data that was lost is told to whoever unpublishes, also if the mount was over before', async (t) => {
  const volume = volumeOf('lossy');
  await volume.publish();
  const pid = await volume.pid();
  process.kill(pid, 'SIGSTOP');
  for (const keeper of keepersStartedBy(pid, '/dev/fd/3')) process.kill(keeper, 'SIGKILL');
  await mustRun(['umount', '--lazy', volume.target]);
  process.kill(pid, 'SIGKILL');
  const words = 'has ended with an error';
  await until('the mounter knows', () => mounter.output.includes(`${volume.target} ${words}`));
  t.match(await volume.unpublishFailure(), { code: 'INTERNAL', details: new RegExp(words) });
  await volume.unpublish();
});

t.test('a volume that is at other places too is unpublished when its data is on the server', async (t) => {
  const volume = volumeOf('elsewhere');
  const elsewhere = join(root.folder, 'elsewhere');
  mkdirSync(elsewhere);
  await volume.publish();
  await mustRun(['mount', '--bind', volume.target, elsewhere]);
  t.teardown(() => run(['umount', '--lazy', elsewhere]));
  writeFileSync(join(volume.target, 'file'), 'content');
  const pid = await volume.pid();
  // It takes the question, and dies with its keeper before it answers.
  process.kill(pid, 'SIGSTOP');
  for (const keeper of keepersStartedBy(pid, '/dev/fd/3')) process.kill(keeper, 'SIGKILL');
  const before = mounter.output.split('Another one goes on').length;
  const unpublishing = volume.unpublish();
  await until('it is unmounted here', () => !volume.isMounted);
  process.kill(pid, 'SIGKILL');
  await unpublishing;
  t.equal(mounter.output.split('Another one goes on').length, before + 1, 'the next process was asked');
  t.match(driver.log, /is at other places too/);
  t.equal(readFileSync(join(elsewhere, 'file'), 'utf8'), 'content');
  await mustRun(['umount', elsewhere]);
});

t.test('a mounter that is stopped holds no call beyond its time, and losses are told later', async (t) => {
  const volume = volumeOf('stopped');
  const other = volumeOf('stopped too');
  await volume.publish();
  await other.publish();
  const pid = await volume.pid();
  mounter.signal('SIGSTOP');
  process.kill(pid, 'SIGSTOP');
  for (const keeper of keepersStartedBy(pid, '/dev/fd/3')) process.kill(keeper, 'SIGKILL');
  process.kill(pid, 'SIGKILL');
  const overdue = (call: () => Promise<Failure>) =>
    until('it is overdue, and nothing is at work', async () => (await call()).code === 'DEADLINE_EXCEEDED');
  for (let time = 0; time < 2; time++) await overdue(() => volume.unpublishFailure(1_000));
  await overdue(() => other.unpublishFailure(1_000));
  await overdue(() => other.publishFailure({}, 1_000));
  await until('the log tells why', () => driver.log.split('does not tell in time').length > 3);
  mounter.signal('SIGCONT');
  t.match(await volume.unpublishFailure(), { code: 'INTERNAL', details: /has ended with an error/ });
  await volume.unpublish();
  await other.unpublish();
});

t.test('a server that does not answer leaves nothing behind, whatever retry says', async (t) => {
  const dead = untilEnd(t, await Ganesha.start());
  dead.freeze(true);
  const volume = PodVolume.on(driver, dead, '', 'never');
  const patient = { volume_capability: capability([...volume.flags, 'retry=1000']) };
  t.match(await volume.publishFailure(patient, 4_000), { code: 'DEADLINE_EXCEEDED' });
  await until('its attempt has ended', async () => {
    const failure = await volume.unpublish().catch((error: unknown) => error);
    if (failure instanceof Error && !/ABORTED/.test(failure.message)) throw failure;
    return !(failure instanceof Error);
  });
  t.notOk(volume.isMounted);
  t.notOk(existsSync(volume.target));
});

t.test(
  'without a mounter nothing is mounted, and what was served is mounted anew by the next one',
  async (t) => {
    const volume = volumeOf('orphan');
    await volume.publish();
    const pid = await volume.pid();
    // As a container that ends: all its processes at once.
    mounter.signal('SIGKILL');
    process.kill(pid, 'SIGSTOP');
    for (const keeper of keepersStartedBy(pid, '/dev/fd/3')) process.kill(keeper, 'SIGKILL');
    process.kill(pid, 'SIGKILL');
    await mounter.ended;
    await until('it is dead', async () => (await run(['ls', volume.target])).status !== 0);
    t.match(await volume.publishFailure(), { code: 'UNAVAILABLE', details: /No mounter listens on/ });
    t.notOk(existsSync(volume.target));
    await mounter.start();
    await volume.publish();
    await mustRun(['ls', volume.target]);
    await volume.unpublish();
  },
);

t.test('a mounter that is told to end waits for its last mount', async (t) => {
  const volume = volumeOf('last');
  await volume.publish();
  mkdirSync(join(volume.target, 'folder'), { recursive: true });
  mounter.signal('SIGTERM');
  await until('it says that it waits', () => mounter.output.includes('1 mounts are in use'));
  await mustRun(['ls', volume.target]);
  await volume.unpublish();
  t.match(await mounter.ended, { status: 0 });
  await mounter.start();
});

t.test('a mounter that is told to end still tells when data is on the server', async (t) => {
  const slow = untilEnd(t, await Ganesha.start());
  chmodSync(slow.directory, 0o777);
  const volume = PodVolume.on(driver, slow, '', 'slow end');
  await volume.publish();
  const file = join(slow.directory, 'large');
  const writer = start(['sh', '-c', 'exec cat /dev/zero > "$0/large"', volume.target]);
  await until('it is writing', () => existsSync(file) && statSync(file).size > 5_000_000);
  slow.freeze(true);
  const before = statSync(file).size;
  t.ok((await volume.unwritten()) > 0, 'some of it is on its way');
  writer.signal('SIGKILL');
  mounter.signal('SIGTERM');
  await until('it says that it waits', () => mounter.output.includes('1 mounts are in use'));
  const other = volumeOf('too late');
  t.match(await other.publishFailure(), { code: 'UNAVAILABLE', details: /This mounter ends/ });
  t.notOk(other.isMounted);
  await until('it is unmounted', async () => {
    await volume.unpublishFailure(1_000);
    return !volume.isMounted;
  });
  // The next driver finds no mount any more, and has to ask.
  await driver.end('SIGKILL');
  await driver.start();
  t.match(await volume.unpublishFailure(2_000), { code: 'DEADLINE_EXCEEDED' });
  t.notOk(mounter.hasEnded);
  slow.freeze(false);
  await writer.ended;
  await until('it is unpublished', async () => {
    const failure = await volume.unpublish().catch((error: unknown) => error);
    if (failure instanceof Error && !/ABORTED/.test(failure.message)) throw failure;
    return !(failure instanceof Error);
  });
  t.ok(statSync(file).size > before, 'it is there');
  t.match(await mounter.ended, { status: 0 });
  await mounter.start();
});

t.test('only root and its user may hand mounts to a mounter', async (t) => {
  const ask = `require('net').connect(${JSON.stringify(mounter.socket)}).on('error', (error) => { console.log(error.code) }).on('connect', () => { console.log('connected'); process.exit() })`;
  const other = ['setpriv', '--reuid=4321', '--regid=4321', '--clear-groups'];
  const node = user.product[0] ?? process.execPath;
  t.equal(await mustRun([...other, 'env', '-u', 'NODE_OPTIONS', node, '-e', ask], { cwd: '/' }), 'EACCES\n');
});
