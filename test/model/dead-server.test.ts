/**
 * A server that answers nothing: `soft` fails in the end, `hard` waits and then goes on, and waiting programs can be
 * ended, and so can the mount.
 */
import { constants, readdirSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace, type PlaceName } from '../support/places.js';
import { type Background, run, start, until } from '../support/process.js';
import { python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY } = constants;

interface Ground {
  readonly server: Ganesha;
  readonly mount: Mount;
  readonly fs: Agent;
}

async function ground(t: Test, options: readonly string[], placeName: PlaceName = 'root'): Promise<Ground> {
  const server = untilEnd(t, await Ganesha.start());
  const place = untilEnd(t, await openPlace(placeName));
  const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
  return { server, mount, fs: await mount.agent() };
}

/** Stops the server's process; its threads stop one after the other. */
async function freeze(server: Ganesha): Promise<void> {
  server.freeze(true);
  const tasks = `/proc/${server.pid}/task`;
  const state = (task: string) => readFileSync(`${tasks}/${task}/stat`, 'latin1').replace(/.*\) /, '')[0];
  await until('every thread of the server has stopped', () =>
    readdirSync(tasks).every((task) => state(task) === 'T'),
  );
}

/** Nothing is answered from memory. */
const UNCACHED = ['noac', 'lookupcache=none'];

for (const [recovery, errno, death] of [
  ['soft', 'EIO', 'frozen'],
  ['softerr', 'ETIMEDOUT', 'killed'],
] as const) {
  t.test(
    `${recovery}, a server that is ${death}: every operation fails with ${errno}`,
    { timeout: 300_000 },
    async (t) => {
      const { server, mount, fs } = await ground(t, [recovery, 'timeo=2', 'retrans=1', ...UNCACHED]);
      await fs.mkdir('folder');
      await fs.mkdir('empty');
      await fs.writeFile('file', 'content');
      await fs.symlink('file', 'symlink');
      const reading = await fs.open('file', O_RDONLY);
      const writing = await fs.open('other', O_CREAT | O_RDWR);
      const closing = await fs.open('third', O_CREAT | O_WRONLY);
      const synchronous = await fs.open('fourth', O_CREAT | O_WRONLY | constants.O_SYNC);
      const appending = await fs.open('fifth', O_CREAT | O_WRONLY | constants.O_APPEND);
      if (death === 'frozen') await freeze(server);
      else await server.kill();
      const operations: Record<string, () => Promise<unknown>> = {
        stat: () => fs.stat('file'),
        lstat: () => fs.lstat('symlink'),
        fstat: () => fs.fstat(reading),
        access: () => fs.chdir('folder'),
        open: () => fs.open('file', O_RDONLY),
        create: () => fs.open('new', O_CREAT | O_WRONLY),
        read: () => fs.pread(reading, 100, 0),
        list: () => fs.list('.'),
        readlink: () => fs.readlink('symlink'),
        mkdir: () => fs.mkdir('another'),
        rmdir: () => fs.rmdir('empty'),
        unlink: () => fs.unlink('file'),
        rename: () => fs.rename('file', 'renamed'),
        link: () => fs.link('file', 'linked'),
        symlink: () => fs.symlink('file', 'symlink2'),
        mkfifo: () => fs.mkfifo('fifo'),
        truncate: () => fs.truncate('file', 3),
        ftruncate: () => fs.ftruncate(writing, 3),
        chmod: () => fs.chmod('file', 0o600),
        utimens: () => fs.utimens('file', 1n, 1n),
        statvfs: () => fs.statvfs('.'),
        'write and fsync': async () => {
          await fs.pwrite(writing, 'lost', 0);
          await fs.fsync(writing);
        },
        'write with O_SYNC': () => fs.pwrite(synchronous, 'lost', 0),
        'write with O_APPEND': () => fs.write(appending, 'lost'),
        chown: () => fs.chown('file', 0, 0),
        'write and close': async () => {
          await fs.pwrite(closing, 'lost', 0);
          await fs.closeFd(closing);
        },
      };
      for (const [name, operation] of Object.entries(operations))
        t.equal(await errnoOf(operation()), errno, name);
      if (death === 'frozen') server.freeze(false);
      else await server.start();
      await until('the server is there again', async () => (await errnoOf(fs.stat('folder'))) === 'no error');
      await fs.writeFile('after', 'as before');
      t.equal((await fs.readFile('after')).toString(), 'as before');
      t.equal(mount.outcome, undefined, 'nfs-fuse lives');
    },
  );
}

for (const death of ['frozen', 'killed'] as const) {
  t.test(
    `hard, a server that was ${death}: waiting operations are carried out correctly`,
    { timeout: 300_000 },
    async (t) => {
      const { server, mount, fs } = await ground(t, ['hard', 'timeo=3', 'retrans=1', ...UNCACHED]);
      await fs.writeFile('file', 'content');
      await fs.writeFile('doomed', '');
      await fs.writeFile('moving', 'moved');
      await fs.mkdir('folder');
      const fd = await fs.open('written', O_CREAT | O_RDWR);
      const log = await fs.open('log', O_CREAT | O_WRONLY);
      const others: Agent[] = [];
      for (let index = 0; index < 5; index++) others.push(await mount.agent());
      const [reader, maker, mover, remover, lister] = others;
      if (!reader || !maker || !mover || !remover || !lister) throw new Error('too few agents');
      if (death === 'frozen') await freeze(server);
      else await server.kill();
      const lines = Array.from({ length: 20 }, (_, index) => `line ${index}\n`);
      const waiting = {
        written: fs.pwrite(fd, 'kept', 0).then(() => fs.fsync(fd)),
        read: reader.readFile('file'),
        made: maker.mkdir('made').then(() => maker.open('made/excl', O_CREAT | O_WRONLY | constants.O_EXCL)),
        moved: mover.rename('moving', 'folder/moved'),
        removed: remover.unlink('doomed'),
        listed: lister.list('.'),
      };
      let settled = 0;
      for (const promise of Object.values(waiting)) {
        promise.then(
          () => settled++,
          () => settled++,
        );
      }
      await until('nfs-fuse says that it waits', () => mount.log.includes('not responding, still trying'));
      t.equal(settled, 0, 'everything waits');
      if (death === 'frozen') server.freeze(false);
      else await server.start();
      await waiting.written;
      t.equal((await waiting.read).toString(), 'content');
      await waiting.made;
      await waiting.moved;
      await waiting.removed;
      t.ok((await waiting.listed).map(String).includes('file'));
      await until('it says that all is well', () => mount.log.includes('OK'));
      for (const line of lines) await fs.write(log, line);
      await fs.fsync(log);
      t.equal((await fs.readFile('log')).toString(), lines.join(''));
      t.equal((await fs.readFile('written')).toString(), 'kept');
      t.equal((await fs.readFile('folder/moved')).toString(), 'moved');
      t.same((await fs.list('.')).map(String), ['file', 'folder', 'log', 'made', 'written']);
      t.same((await fs.list('made')).map(String), ['excl']);
      const outage = mount.log.slice(0, mount.log.indexOf(' OK'));
      t.equal(outage.split('still trying').length, 2, 'said once');
    },
  );
}

/** Waits until the program is in the kernel, waiting for an answer of nfs-fuse. */
async function waitsForMount({ pid, outcome }: Background): Promise<boolean> {
  if (outcome !== undefined) throw new Error('it did not wait');
  return /request_wait_answer|fuse/.test(readFileSync(`/proc/${pid}/wchan`, 'latin1'));
}

for (const signal of ['SIGINT', 'SIGKILL'] as const) {
  t.test(`hard, a dead server: ${signal} ends a waiting program`, { timeout: 300_000 }, async (t) => {
    const { server, mount, fs } = await ground(t, ['hard', 'timeo=3', 'retrans=1', ...UNCACHED]);
    await fs.writeFile('file', Buffer.alloc(3 << 20, 'x'));
    await fs.mkdir('folder');
    const open = await fs.open('file', O_RDONLY);
    await fs.closeFd(open);
    await freeze(server);
    const programs = [
      ['cat', 'file'],
      ['cp', 'file', 'copy'],
      ['ls', '-l', 'folder'],
      ['sh', '-c', 'echo x > new'],
      ['rm', 'file'],
    ];
    for (const argv of programs) {
      const program = start(mount.place.command(['env', '-C', mount.path, ...argv]), { cwd: '/' });
      await until(`${argv[0]} waits`, () => waitsForMount(program));
      program.signal(signal);
      t.equal((await program.ended).signal, signal, argv.join(' '));
    }
    t.equal(mount.outcome, undefined, 'nfs-fuse lives');
    server.freeze(false);
    t.equal((await fs.stat('folder')).mode & 0o777, 0o755, 'the mount goes on');
  });
}

t.test(
  'hard, a dead server: a program that ends with a written file open is let go, and its data arrives',
  { timeout: 300_000 },
  async (t) => {
    const { server, mount, fs } = await ground(t, ['hard', 'timeo=3', 'retrans=1']);
    const script =
      "import os; fd = os.open('kept', os.O_CREAT | os.O_WRONLY); os.write(1, b'ready'); os.read(0, 1); " +
      "os.write(fd, b'content'); os._exit(0)";
    const program = untilEnd(
      t,
      start(mount.place.command(['env', '-C', mount.path, python, '-c', script]), {
        cwd: '/',
        stdio: ['pipe', 'pipe', 'pipe'],
      }),
    );
    await until('the file is open', () => program.output.includes('ready'));
    await freeze(server);
    program.child.stdin?.end('\n');
    t.equal((await program.ended).status, 0);
    t.match(mount.log, 'not responding, still trying', 'until then it was waited for');
    server.freeze(false);
    await until('the data is there', async () => (await fs.readFile('kept')).toString() === 'content');
    t.notMatch(mount.log, /nobody could be told/);
  },
);

t.test(
  'hard, a server that dies while data is read and written: signals end it all',
  { timeout: 300_000 },
  async (t) => {
    const { server, mount, fs } = await ground(t, ['hard', 'timeo=3', 'retrans=1']);
    await fs.writeFile('big', Buffer.alloc(8 << 20, 'y'));
    const writing = start([
      'sh',
      '-c',
      `exec dd if=/dev/zero of=${mount.path}/zeros bs=1M count=100000 status=none`,
    ]);
    const copying = start(['cp', `${mount.path}/big`, `${mount.path}/copy`]);
    await until('something was written', async () => (await errnoOf(fs.stat('zeros'))) === 'no error');
    await server.kill();
    await until('dd waits', () => waitsForMount(writing));
    for (const program of [writing, copying]) {
      program.signal('SIGKILL');
      await program.ended;
    }
    t.equal(mount.outcome, undefined, 'nfs-fuse lives');
    await server.start();
    await until('it goes on', () => mount.log.includes('OK'));
    t.equal((await fs.readFile('big')).length, 8 << 20);
  },
);

for (const placeName of ['root', 'userns', 'user'] as const) {
  t.test(`umount --force ends a dead mount (${placeName})`, { timeout: 300_000 }, async (t) => {
    const { server, mount, fs } = await ground(t, ['hard', 'timeo=3', 'retrans=1', ...UNCACHED], placeName);
    await freeze(server);
    const { place, path } = mount;
    const stuck = start(place.command(['env', '-C', path, 'ls', '-l']), { cwd: '/' });
    const failing = errnoOf(fs.list('.'));
    await until('nfs-fuse says that it waits', () => mount.log.includes('not responding'));
    const forced = await run(place.command([...place.product, 'umount', '--force', path]), { cwd: '/' });
    t.equal(forced.status, 0, forced.stderr.toString());
    await mount.exit();
    t.equal(mount.entry, undefined, 'nothing is mounted');
    t.not((await stuck.ended).status, 0, 'ls failed');
    t.not(await failing, 'no error');
    await mount.closeAgents();
    // Ending in good order would take too long.
    await server.kill();
  });
}
