/**
 * Programs that are killed end, also while the process that served their mount is dead and the next one waits for the server.
 * Nobody else sees an error, and nothing is lost that they have written.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ServeCommand } from '../support/embedded.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { servingProcess } from './support/serving.js';

/**
 * Writes to a file of its own, and waits for a line before it makes the call that its first argument names. "locked": a child
 * that holds a lock is killed, while its parent keeps the file open.
 */
const PROGRAM = `
import fcntl, os, signal, sys
how, path = sys.argv[1:]
signal.signal(signal.SIGUSR1, lambda *_: print('signalled', flush=True))
file = os.open(path, os.O_RDWR | os.O_CREAT)
synced = os.open(path + '.synced', os.O_RDWR | os.O_CREAT | os.O_SYNC)
parent = os.getpid()
if how == 'locked' and os.fork() == 0:
    fcntl.lockf(synced, fcntl.LOCK_EX)
    parent = 0
if how != 'locked' or parent == 0:
    os.write(file, b'written')
    print('ready', os.getpid(), flush=True)
    sys.stdin.readline()
    print('begins', flush=True)
calls = {
    'close': lambda: os.close(file),
    'fsync': lambda: os.fsync(file),
    'write': lambda: os.write(synced, b'x'),
    'stat': lambda: os.path.exists(path + '.absent'),
    'lock': lambda: fcntl.lockf(synced, fcntl.LOCK_EX),
    'locked': lambda: os.wait() if parent else sys.stdin.readline(),
}
calls[how]()
print('done', flush=True)
sys.stdin.readline()
`;
const CALLS = ['close', 'fsync', 'write', 'stat', 'lock', 'locked'] as const;

t.test('close, fsync, write, stat and locks end with SIGKILL, whenever it comes', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await ServeCommand.start(place));
  const mount = untilEnd(t, await Mount.start({ source: server, place }));
  await mount.served();
  const begin = (how: string, name: string) => {
    const argv = ['/usr/bin/python3', '-c', PROGRAM, how, join(mount.path, name)];
    const program = untilEnd(t, start(argv, { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] }));
    const says = (what: string) =>
      until(`${name} says ${what}`, () => {
        if (program.outcome !== undefined) throw new Error(program.output);
        return program.output.includes(what);
      });
    return {
      program,
      name,
      how,
      says,
      go: () => void program.child.stdin?.write('\n'),
      kill: () => process.kill(Number(/ready (\d+)/.exec(program.output)?.[1]), 'SIGKILL'),
    };
  };
  const early = CALLS.map((how) => begin(how, `${how}-early`));
  const late = CALLS.map((how) => begin(how, `${how}-late`));
  const living = begin('close', 'living');
  const all = [...early, ...late, living];
  for (const one of all) await one.says('ready');
  const dead = await servingProcess(mount);
  let isAway = true;
  // Programs that cannot be killed would hold the test up for ever.
  t.teardown(() => (isAway ? server.start() : undefined));
  await server.stop();
  for (const one of all) one.go();
  for (const one of all) await one.says('begins');
  const end = async (programs: typeof all) => {
    for (const { how, says, program } of programs) {
      if (how === 'locked') await says('done');
      else {
        await until(`${how} ends`, () => program.outcome !== undefined);
        t.equal(program.outcome?.signal, 'SIGKILL', how);
      }
    }
  };

  process.kill(dead, 'SIGSTOP');
  for (const one of early) one.kill();
  process.kill(dead, 'SIGKILL');
  await end(early);
  t.match(mount.log, /Trying again/, 'the server is away');
  living.program.signal('SIGUSR1');
  for (const one of late) one.kill();
  await end(late);
  t.notMatch(living.program.output, /done|signalled/, 'a program that lives waits on');

  isAway = false;
  await server.start();
  await living.says('done');
  t.match(living.program.output, /signalled/);
  const locks = place.command([...place.product, 'locks', '--json', mount.path]);
  await until('no lock is held for a program that is gone', async () => {
    const { status, stdout } = await run(locks, { cwd: '/' });
    return status === 0 && JSON.parse(stdout.toString()).held === 0;
  });
  for (const { program, how } of all)
    if (program.outcome === undefined) t.match(program.output, /done/, `${how} had no error`);
  for (const { name } of all) t.equal(readFileSync(join(server.directory, name), 'utf8'), 'written', name);
  for (const one of all) one.program.signal('SIGKILL');
  await mount.unmount();
  t.notMatch(mount.log, /was unmounted|lost/);
});
