/** A hundred operations that meet one stale handle at once make one redrive, however it ends. */
import { rmSync } from 'node:fs';
import t, { type Test } from 'tap';
import { Status } from '../../lib/programs/nfs3/index.js';
import { errnoOf } from '../support/agent.js';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';
import { start, until } from '../support/process.js';
import { python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const THREADS = 100;
/** The server carries out 64 calls of one connection at a time. */
const OPTIONS = ['actimeo=60', 'nconnect=2'];

/** Threads that read one symbolic link at once, and print the errnos that they got, sorted. */
const SCRIPT = `
import os, sys, threading
os.readlink(sys.argv[1])
seen = []
def act():
    try:
        os.readlink(sys.argv[1])
        seen.append("fine")
    except OSError as error:
        seen.append(os.strerror(error.errno))
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
threads = [threading.Thread(target=act) for _ in range(${THREADS})]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(seen)[0], sorted(seen)[-1], len(seen))
`;

/** Holds the server's answers until all threads have asked; then `before` happens and they are answered. */
async function allAtOnce(
  t: Test,
  ground: EmbeddedMount,
  status: 'STALE' | 'the truth',
  before: () => Promise<void> | void,
): Promise<{ said: string; redrives: number; failed: number }> {
  const { server, agent, mount, stats } = ground;
  await agent.mkdir('folder');
  await agent.symlink('target', 'folder/link');
  const program = untilEnd(
    t,
    start(mount.place.command([python, '-c', SCRIPT, `${mount.path}/folder/link`]), {
      stdio: ['pipe', 'pipe', 'pipe'],
    }),
  );
  await until('the program has found the link', () => program.output.includes('ready'));
  let release = () => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const fault = server.faults.add({
    procedure: 'READLINK',
    handle: await ground.handleOf('folder/link'),
    times: THREADS,
    wait: gate,
    ...(status === 'STALE' ? { status: Status.STALE } : {}),
  });
  const { redrives, redrivesFailed } = (await stats()).caches;
  program.child.stdin?.write('go\n');
  await until('all threads have asked', () => fault.hits === THREADS);
  await before();
  release();
  await program.ended;
  const after = (await stats()).caches;
  return {
    said: program.output.split('\n')[1] ?? '',
    redrives: after.redrives - redrives,
    failed: after.redrivesFailed - redrivesFailed,
  };
}

t.test('the object is found again under the same handle', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t, OPTIONS);
  const result = await allAtOnce(t, ground, 'STALE', () => {});
  t.same(result, { said: `fine fine ${THREADS}`, redrives: 1, failed: 0 });
});

t.test('the object is gone', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t, OPTIONS);
  const result = await allAtOnce(t, ground, 'STALE', () => rmSync(ground.onServer('folder/link')));
  t.equal(result.said, `No such file or directory No such file or directory ${THREADS}`);
  t.same({ ...result, said: '' }, { said: '', redrives: 1, failed: 1 });
  t.equal(await errnoOf(ground.agent.lstat('folder/link')), 'ENOENT');
});

t.test('all handles are new: one redrive for each object on the way', { timeout: 60_000 }, async (t) => {
  const ground = await embeddedMount(t, OPTIONS);
  // The restart resets the connection: all calls are sent again, and answered after it.
  const result = await allAtOnce(t, ground, 'the truth', () => ground.server.restart({ newHandles: true }));
  t.same(result, { said: `fine fine ${THREADS}`, redrives: 3, failed: 0 }, 'link, folder and root');
  t.equal((await ground.stats()).caches.rootRemounts, 1);
});
