/** The keeper alone: when it starts another process, with what, and when it gives up. */
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t, { type Test } from 'tap';
import { publicFolder } from '../support/folders.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { endWatchers, keepersOf, keepersStartedBy, watchersOf } from '../support/watchers.js';

const MAIN = join(projectRoot, 'test/keep/support/kept-main.ts');

interface Kept {
  readonly folder: string;
  readonly serving: Background;
  /** The lines that the next processes have written about themselves, one each. */
  lives(): string[];
  /** The text of a file of the folder; empty if there is none. */
  text(name: string): string;
  /** Gives the process an order, and waits until it is carried out. */
  order(word: string): Promise<void>;
  /** SIGKILL, and the wait for the end. */
  kill(): Promise<void>;
}

/** Every next process writes a line and then does what `life` says, in the language of the shell. */
async function kept(t: Test, shell: string, life: string, deaths = ''): Promise<Kept> {
  const scratch = untilEnd(t, publicFolder());
  const folder = scratch.path;
  const text = (name: string) =>
    existsSync(join(folder, name)) ? readFileSync(join(folder, name), 'utf8') : '';
  writeFileSync(join(folder, 'fuse'), 'the connection');
  writeFileSync(join(folder, 'state'), 'the state');
  writeFileSync(join(folder, 'log'), '');
  const note = `cd "$1"; read -r line <&3; read -r state <&6; echo "$$ [$line] [$state] [$2] $NFS_FUSE_TAKE_OVER" >> lives`;
  writeFileSync(join(folder, 'next.sh'), `${note}\n${life}\n`);
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  symlinkSync((await mustRun(['which', shell])).trim(), join(bin, 'sh'));
  chmodSync(folder, 0o700);
  const path = `${bin}${delimiter}${process.env.PATH}`;
  const serving = untilEnd(
    t,
    start([process.execPath, '--import=tsx', MAIN, folder, deaths], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, PATH: path, HOMELAND: 'kept' },
    }),
  );
  // The keepers first: of each process that ends they start another one.
  t.teardown(async () => {
    serving.child.kill('SIGKILL');
    await until('no keeper is left', () => {
      endWatchers(folder);
      return watchersOf(folder).length === 0;
    });
    for (const line of text('lives').split('\n').filter(Boolean)) end(pidOf(line));
  });
  const said = async (what: string) => {
    await until(what, () => {
      if (serving.outcome !== undefined) throw new Error(serving.output);
      return serving.output.split('\n').includes(what);
    });
  };
  await said('kept');
  return {
    folder,
    serving,
    lives: () => text('lives').split('\n').filter(Boolean),
    text,
    order: async (word) => {
      serving.child.stdin?.write(`${word}\n`);
      await said(word);
    },
    // The keeper and the next process have its standard error as well, so its output goes on.
    kill: async () => {
      const exit = once(serving.child, 'exit');
      serving.child.kill('SIGKILL');
      await exit;
    },
  };
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

const pidOf = (line = ''): number => Number(line.split(' ', 1)[0]);
/** A keeper that starts another process is followed by another keeper; only one that gives up writes to the journal. */
const givenUp = (one: Kept) => until('the keeper gives up', () => one.text('journal').endsWith('\n'));

for (const shell of ['dash', 'busybox']) {
  t.test(`${shell}: the next process gets the descriptors, the arguments and the environment`, async (t) => {
    const one = await kept(
      t,
      shell,
      'echo "$HOMELAND $PWD"; tr "\\0" "\\n" < /proc/$$/environ > environ; exec sleep 600',
    );
    await one.kill();
    await until('a process has taken over', () => one.lives().length === 1);
    const [life = ''] = one.lives();
    t.match(
      life,
      `[the connection] [the state] [a'b $c "d"] fuse=3 state=6 keeper=7 died=${one.serving.pid} at=`,
    );
    t.match(life, /role=foreground$/);
    await until('it writes to the log file', () => one.text('log').includes('kept '));
    await until('its environment is known', () => one.text('environ').includes('HOMELAND=kept\n'));
    t.notMatch(one.text('environ'), /NFS_FUSE_WATCH|NFS_FUSE_START/, 'the script is not passed on');
    await until('one shell keeps the new process', () => keepersOf(one.folder).length === 1);
    t.equal(one.text('journal'), '', 'nothing is reported that another process can report better');
  });

  t.test(`${shell}: shells do not pile up, and the deaths are counted`, async (t) => {
    const one = await kept(t, shell, 'echo alive >&7; exec sleep 600');
    await one.kill();
    for (const number of [1, 2, 3, 4, 5, 6, 7]) {
      await until(`process ${number} has taken over`, () => one.lives().length === number);
      await until('one shell keeps it', () => keepersOf(one.folder).length === 1);
      const life = one.lives().at(-1);
      t.equal(/deaths=([\d,]+)/.exec(life ?? '')?.[1]?.split(',').length, number);
      await until('it has said that it lives', () =>
        readFileSync(`/proc/${pidOf(life)}/cmdline`, 'utf8').startsWith('sleep'),
      );
      process.kill(pidOf(life), 'SIGKILL');
    }
    await until('process 8 has taken over', () => one.lives().length === 8);
  });

  t.test(`${shell}: a mount whose processes die all the time is given up`, async (t) => {
    const now = Math.floor(Number(readFileSync('/proc/uptime', 'utf8').split(' ', 1)[0]));
    const deaths = [now - 1000, ...Array.from({ length: 59 }, () => now)];
    const one = await kept(t, shell, 'echo alive >&7; exec sleep 600', deaths.join(','));
    await one.kill();
    await until('the 60th death leads to another process', () => one.lives().length === 1);
    await until('it lives', () =>
      readFileSync(`/proc/${pidOf(one.lives()[0])}/cmdline`, 'utf8').startsWith('sleep'),
    );
    process.kill(pidOf(one.lives()[0]), 'SIGKILL');
    await givenUp(one);
    t.equal(one.lives().length, 1);
    t.match(one.text('journal'), /over: its processes have died more than 60 times within a minute\.$/m);
  });

  t.test(`${shell}: no second process is tried where the first says that it is hopeless`, async (t) => {
    const one = await kept(t, shell, 'echo "hopeless the state is damaged" >&7');
    await one.kill();
    await givenUp(one);
    t.equal(one.lives().length, 1);
    t.match(one.text('journal'), /Nothing has taken it over: the state is damaged\.$/m);
  });

  t.test(
    `${shell}: signals to the keeper change nothing, and no signal is ignored in a new process of Node`,
    async (t) => {
      const script =
        'console.log(require("fs").readFileSync("/proc/self/status", "utf8")); setInterval(() => {}, 1e6)';
      const one = await kept(t, shell, `exec ${process.execPath} -e '${script}'`);
      const [keeper = 0] = keepersOf(one.folder);
      const ignoredBy = (pid: number) =>
        BigInt(`0x${/^SigIgn:\s*(\w+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]}`);
      const SIGTERM = 1n << 14n;
      await until('it ignores signals', () => (ignoredBy(keeper) & SIGTERM) !== 0n);
      for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGUSR1', 'SIGPIPE'] as const)
        process.kill(keeper, signal);
      await one.kill();
      await until('its state is known', () => one.text('log').includes('SigCgt'));
      const ignored = BigInt(`0x${/^SigIgn:\s*([0-9a-f]+)$/m.exec(one.text('log'))?.[1]}`);
      const ofNode = (1n << 12n) | (1n << 24n);
      const ordinary = (1n << 31n) - 1n;
      t.equal(ignored & ordinary & ~ofNode, 0n, 'Node itself ignores SIGPIPE and SIGXFSZ');
    },
  );

  t.test(
    `${shell}: the kernel spares the keeper when memory is short, and not the new process`,
    async (t) => {
      const one = await kept(t, shell, 'exec sleep 600');
      const own = readFileSync('/proc/self/oom_score_adj', 'utf8');
      // Even root may be without the right to it (CAP_SYS_RESOURCE).
      const trial = await run(['sh', '-c', 'echo -1000 > /proc/self/oom_score_adj']);
      const spared = trial.status === 0 ? '-1000\n' : own;
      const scoreOf = (pid: number) => readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8');
      const scores = ({ folder }: Kept) => keepersOf(folder).map(scoreOf);
      await until('it is spared', () => scores(one).includes(spared));
      await one.kill();
      await until('a process has taken over', () => one.lives().length === 1);
      t.equal(scoreOf(pidOf(one.lives()[0])), own);
      await until('its keeper is spared', () => scores(one).includes(spared));
    },
  );
}

t.test('after five processes in vain the keeper gives up, and says why', async (t) => {
  const one = await kept(t, 'dash', 'echo "why there is no bread" >&7; kill -KILL $$');
  await one.kill();
  await givenUp(one);
  t.equal(one.lives().length, 5);
  const message =
    `The process ${one.serving.pid} that served ${one.folder} died, and its connection is closed. Data that was not ` +
    'written back is lost. Nothing has taken it over: the process that was to take it over has ended 5 times before ' +
    'it served: there is no bread.';
  t.ok(one.text('journal').trimEnd().endsWith(` error ${message}`), one.text('journal'));
  t.ok(one.text('log').includes(` error ${message}\n`), one.text('log'));
  t.ok(one.serving.output.includes(`nfs-fuse: ${message}\n`), one.serving.output);
});

t.test('a keeper that is killed is replaced', async (t) => {
  const one = await kept(t, 'dash', 'exec sleep 600');
  const [first = 0] = keepersOf(one.folder);
  process.kill(first, 'SIGKILL');
  // A shell that the first one was just starting looks like a keeper for a moment.
  await until('there is another', () =>
    keepersStartedBy(one.serving.pid, one.folder).some((pid) => pid !== first),
  );
  await one.kill();
  await until('a process has taken over', () => one.lives().length === 1);
});

t.test('a keeper that could not be started is started later', async (t) => {
  const one = await kept(t, 'dash', 'exec sleep 600');
  const { pid } = one.serving;
  await mustRun(['prlimit', '--pid', `${pid}`, '--nofile=10:']);
  const [first = 0] = keepersOf(one.folder);
  process.kill(first, 'SIGKILL');
  await until('it says that there is none', () => /sh cannot be started \(EMFILE\)/.test(one.serving.output));
  t.same(keepersStartedBy(pid, one.folder), []);
  await mustRun(['prlimit', '--pid', `${pid}`, '--nofile=1024:']);
  await until('there is one', () => keepersStartedBy(pid, one.folder).length === 1);
  await one.kill();
  await until('a process has taken over', () => one.lives().length === 1);
});

t.test('a mount that ends is not taken over, and its death is reported', async (t) => {
  const one = await kept(t, 'dash', 'exec sleep 600');
  await one.order('release');
  await one.kill();
  await givenUp(one);
  t.same(one.lives(), []);
  t.match(
    one.text('journal'),
    /that served .* died, and its connection is closed\. Data that was not written back is lost\.$/m,
  );
});

t.test(
  'a keeper whose mount was left to another process starts one when that has ended, and not before',
  async (t) => {
    const one = await kept(t, 'dash', 'exec sleep 600');
    await one.order('leave');
    const other = Number(one.text('other'));
    await one.kill();
    t.same(keepersOf(one.folder).length, 1);
    t.same(one.lives(), []);
    // Once more the keeper hears that the first process is not there.
    const [keeper = 0] = keepersOf(one.folder);
    process.kill(keeper, 'SIGCONT');
    t.same(one.lives(), []);
    end(other);
    await until('a process has taken over', () => one.lives().length === 1);
  },
);

t.test('a keeper that is dismissed says nothing', async (t) => {
  const one = await kept(t, 'dash', 'exec sleep 600');
  await one.order('dismiss');
  await until('it is gone when it is dismissed', () => keepersOf(one.folder).length === 0);
  await one.kill();
  t.same(one.lives(), []);
  t.equal(one.text('journal'), '');
});
