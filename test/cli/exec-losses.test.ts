/** `nfs-fuse exec` on a server whose disk is full: it reports losses of which no program could be told. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Status } from '../../lib/programs/nfs3/index.js';
import { type ActiveFault, EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { newMountPoint } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { run, start, until } from '../support/process.js';
import { python } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { isOver } from './support/exec.js';
import { STACK_TRACE, said } from './support/product.js';

interface FullGround {
  readonly served: string;
  readonly mnt: string;
  /** Every WRITE so far. */
  readonly fault: ActiveFault;
  /** The command line of `nfs-fuse exec`. */
  argv(command: readonly string[]): string[];
}

/** A server whose disk is full from the first WRITE on. */
async function fullGround(t: Test): Promise<FullGround> {
  const place = untilEnd(t, await openPlace('root'));
  const served = untilEnd(t, publicFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: served.path }));
  const times = Number.POSITIVE_INFINITY;
  const fault = server.faults.add({ procedure: 'WRITE', status: Status.NOSPC, times });
  const mnt = await newMountPoint(place);
  t.teardown(() => isOver(place, mnt));
  const options = `port=${server.port},mountport=${server.port},nlmport=${server.port}`;
  const exec = [...place.product, 'exec', '-o', options, '127.0.0.1:/export', mnt, '--'];
  return { served: served.path, mnt, fault, argv: (command) => place.command([...exec, ...command]) };
}

/** Opens a file of the mount that only the kernel will close. */
const OPEN = `
import ctypes, os, sys, time
fd = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)`;
const MAP = `
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
os.ftruncate(fd, 4096)
memory = libc.mmap(None, 4096, 3, 1, fd, 0)
os.close(fd)
ctypes.memmove(memory, b"data", 4)`;
/** Leaves a process behind that has written this much and keeps the file open. Prints its id, and waits. */
const leaveBehind = (mnt: string, bytes: number): string[] => {
  const write = `os.write(fd, b"data" * ${bytes / 4})`;
  const stay = 'os.mkdir(sys.argv[1] + "/ready")\ntime.sleep(600)';
  const ready = 'until [ -d "$0/ready" ]; do sleep 0.05; done; echo ready $!; read -r line || exit 1';
  const script = `"$1" -c "$2" "$0" >/dev/null 2>&1 & ${ready}`;
  return ['sh', '-c', script, mnt, python, `${OPEN}\n${write}\n${stay}`];
};

// Each command ends with status 0, and no program has got an error.
const LOSSES: readonly (readonly [what: string, command: (mnt: string) => string[], failed: number])[] = [
  [
    'a process that is left behind with a file of which nothing was sent yet',
    (mnt) => leaveBehind(mnt, 4),
    0,
  ],
  ['the same, after WRITEs have failed', (mnt) => leaveBehind(mnt, 1 << 20), 1],
  [
    'a shared mapping that was not synchronized',
    (mnt) => [python, '-c', `${OPEN}${MAP}\nprint("ready", flush=True)\nsys.stdin.readline()`, mnt],
    0,
  ],
];
for (const [what, command, failed] of LOSSES) {
  t.test(`exec reports that not everything could be written back: ${what}`, async (t) => {
    const { served, mnt, fault, argv } = await fullGround(t);
    const program = untilEnd(t, start(argv(command(mnt)), { cwd: '/', stdio: ['pipe', 'pipe', 'pipe'] }));
    await until('it is written', () => {
      if (program.outcome !== undefined) throw new Error(program.output);
      return program.output.includes('ready') && fault.hits >= failed;
    });
    program.child.stdin?.end('\n');
    const { status, stdout, stderr } = said(await program.ended);
    const [, left] = /ready (\d+)/.exec(stdout) ?? [];
    if (left !== undefined) process.kill(Number(left), 'SIGKILL');
    t.equal(status, 125, stderr);
    t.match(stderr, /file: (data was lost|a write failed after the file was closed, .*): /);
    t.notMatch(stderr, STACK_TRACE);
    t.notOk(readFileSync(join(served, 'file'), 'latin1').includes('data'));
  });
}

t.test('exec ends with the status of a failed command, also if data was lost', async (t) => {
  const { mnt, argv } = await fullGround(t);
  const command = ['sh', '-c', 'cp /proc/self/status "$0/file" || exit 7', mnt];
  const { status, stderr } = said(await run(argv(command), { cwd: '/' }));
  t.equal(status, 7);
  t.match(stderr, /No space left on device/);
});
