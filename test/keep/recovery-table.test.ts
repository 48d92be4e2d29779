/** The table of docs/recovery.md, line by line: its own words say what is looked for after each event. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { type Background, run, start, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { endWatchers, keepersOf } from '../support/watchers.js';
import { servingProcess } from './support/serving.js';

const PATIENCE_MS = 60_000;
const PYTHON = '/usr/bin/python3';
/** Confirms a file, writes another, locks a third, and waits to be told to go on: with an fsync of the second. */
const PROGRAM = `
import fcntl, os, sys, time
os.chdir(sys.argv[1])
confirmed = os.open("confirmed", os.O_CREAT | os.O_WRONLY)
os.write(confirmed, b"confirmed"); os.fsync(confirmed)
locked = open("locked", "w"); fcntl.lockf(locked, fcntl.LOCK_EX)
written = os.open("written", os.O_CREAT | os.O_WRONLY)
os.write(written, b"written")
print("ready", flush=True)
while not os.path.exists(sys.argv[2]): time.sleep(0.02)
try:
  os.fsync(written); print("confirmed", flush=True)
except OSError as error:
  print("lost", error, flush=True)
time.sleep(600)
`;
const LOCK = 'import fcntl, sys; fcntl.lockf(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)';

interface Row {
  readonly mount: string;
  readonly confirmed: string;
  readonly written: string;
  readonly locks: string;
}

const table = new Map<string, Row>(
  readFileSync(join(projectRoot, 'docs/recovery.md'), 'utf8')
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .filter(({ length }) => length === 8)
    .map(([, event = '', mount = '', confirmed = '', written = '', locks = '']) => [
      event,
      { mount, confirmed, written, locks },
    ]),
);

interface Ground {
  readonly mount: Mount;
  readonly server: ServeCommand;
  /** Another mount of the export. */
  readonly other: Mount;
  readonly program: Background;
  /** The program waits for this file. */
  readonly goOn: string;
  nfsFuse(...args: string[]): ReturnType<typeof run>;
}

async function ground(t: Test): Promise<Ground> {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mount = untilEnd(t, await Mount.start({ source: server, place }));
  const other = untilEnd(t, await Mount.start({ source: server, place }));
  await Promise.all([mount.served(), other.served()]);
  const goOn = join(place.folder, 'go-on');
  const program = untilEnd(t, start(place.command([PYTHON, '-c', PROGRAM, mount.path, goOn]), { cwd: '/' }));
  await until('the program is ready', () => program.output === 'ready\n');
  const nfsFuse = (...args: string[]) =>
    run(place.command([...place.product, ...args]), { cwd: '/', timeoutMs: PATIENCE_MS });
  return { mount, server, other, program, goOn, nfsFuse };
}

async function anotherServes(mount: Mount, before: number): Promise<void> {
  await until('another process serves', async () => ![0, before].includes(await servingProcess(mount)));
}

/** Brings each event about, and resolves when it is over. */
const EVENTS: ReadonlyMap<string, (ground: Ground) => Promise<void>> = new Map([
  [
    'The process is killed (SIGKILL, want of memory, a crash)',
    async ({ mount }) => {
      const serving = await servingProcess(mount);
      process.kill(serving, 'SIGKILL');
      await anotherServes(mount, serving);
    },
  ],
  [
    '`nfs-fuse restart`',
    async ({ mount, nfsFuse }) => {
      const serving = await servingProcess(mount);
      t.match(await nfsFuse('restart', mount.path), { status: 0 });
      await anotherServes(mount, serving);
    },
  ],
  [
    '`nfs-fuse restart --with` a program that does not start',
    async ({ mount, nfsFuse }) => {
      const serving = await servingProcess(mount);
      t.match(await nfsFuse('restart', mount.path, '--with', '/bin/false'), { status: 1 });
      t.equal(await servingProcess(mount), serving);
    },
  ],
  [
    'The keeper is killed',
    async ({ mount }) => {
      const [keeper = 0] = keepersOf(mount.path);
      process.kill(keeper, 'SIGKILL');
      await until('there is a new one', () =>
        keepersOf(mount.path).some((pid) => pid !== keeper && existsSync(`/proc/${pid}`)),
      );
    },
  ],
  [
    'Keeper and process are killed together',
    async ({ mount }) => {
      endWatchers(mount.path);
      await mount.kill();
    },
  ],
  [
    'SIGTERM to the process that serves',
    async ({ mount }) => {
      process.kill(await servingProcess(mount), 'SIGTERM');
      await until('it is unmounted', () => mount.entry === undefined, PATIENCE_MS);
      await mount.exit();
    },
  ],
]);

const atServer = ({ server }: Ground, name: string): string =>
  existsSync(join(server.directory, name)) ? readFileSync(join(server.directory, name), 'utf8') : '';

/** Tells the program to go on; resolves with what its fsync says. */
async function fsync({ program, goOn }: Ground): Promise<string> {
  writeFileSync(goOn, '');
  await until('fsync has returned', () => /confirmed|lost/.test(program.output));
  return /confirmed|lost/.exec(program.output)?.[0] ?? '';
}

async function mayLock({ other }: Ground): Promise<boolean> {
  const { status } = await run(other.place.command([PYTHON, '-c', LOCK, join(other.path, 'locked')]), {
    cwd: '/',
  });
  return status === 0;
}

type Checks = Readonly<Record<string, (t: Test, ground: Ground) => Promise<void>>>;

const goesOn = async (t: Test, { mount }: Ground): Promise<void> => {
  const { status, stdout } = await run(mount.place.command(['cat', join(mount.path, 'confirmed')]), {
    cwd: '/',
  });
  t.match({ status, said: stdout.toString() }, { status: 0, said: 'confirmed' });
};

const MOUNT: Checks = {
  'goes on': goesOn,
  'goes on, as before': goesOn,
  'goes on, with a new one': goesOn,
  'is dead': async (t, { mount }) => {
    const looked = await run(mount.place.command(['ls', mount.path]), { cwd: '/' });
    t.match(looked.stderr.toString(), /Transport endpoint is not connected/);
  },
  'ends in good order': async (t, { mount }) => {
    t.equal(mount.entry, undefined);
    t.notMatch(mount.log, /died|lost/);
  },
};

const isWritten = async (t: Test, ground: Ground): Promise<void> => {
  t.equal(await fsync(ground), 'confirmed');
  t.equal(atServer(ground, 'written'), 'written');
};
const wasWritten = async (t: Test, ground: Ground): Promise<void> => {
  t.equal(atServer(ground, 'written'), 'written');
};

const WRITTEN: Checks = {
  'is written again': isWritten,
  'stays where it is': isWritten,
  'is written back first': wasWritten,
  'is written back': wasWritten,
  'is lost': async (t, ground) => void t.equal(await fsync(ground), 'lost'),
};

const LOCKS: Checks = {
  'are held': async (t, ground) => void t.equal(await mayLock(ground), false),
  'are released': async (_, ground) => until('the range is free', () => mayLock(ground)),
  'until the next mount': async (t, ground) => {
    t.equal(await mayLock(ground), false);
    const { mount, server, nfsFuse, program } = ground;
    program.signal('SIGKILL');
    await program.ended;
    t.match(await nfsFuse('umount', mount.path), { status: 0 });
    const target = `${server.host}:${server.exportPath}`;
    t.match(await nfsFuse('mount', '-o', server.mountOptions.join(','), target, mount.path), { status: 0 });
    await until('the range is free', () => mayLock(ground));
    t.match(await nfsFuse('umount', mount.path), { status: 0 });
  },
};

for (const [event, bringAbout] of EVENTS) {
  t.test(event, async (t) => {
    const row = table.get(event);
    if (row === undefined) throw new Error('the table has no such line');
    const here = await ground(t);
    await bringAbout(here);
    await MOUNT[row.mount]?.(t, here);
    t.equal(row.confirmed, 'is there');
    t.equal(atServer(here, 'confirmed'), 'confirmed');
    const [written, locks] = [WRITTEN[row.written], LOCKS[row.locks]];
    if (written === undefined || locks === undefined)
      throw new Error(`no test knows “${row.written}, ${row.locks}”`);
    await written(t, here);
    await locks(t, here);
  });
}
