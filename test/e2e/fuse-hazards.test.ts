/** Hazards that a FUSE session must survive, on a real mount served by this very process: faults of the file system, signals, floods of writes, abort. */
import { existsSync } from 'node:fs';
import t from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import type { FuseRead, FuseWrite, RequestContext } from '../../lib/fuse/contract/operations.js';
import { FuseError } from '../../lib/fuse/index.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { type Background, run, start, until } from '../support/process.js';
import { Gate, pendingAfter, serve } from '../support/served-memory.js';

const python = (program: string, ...args: string[]): string[] => ['python3', '-c', program, ...args];

t.test('a fault in a handler is EIO for that caller, and the mount lives on', async (t) => {
  class Faulty extends MemoryFileSystem {
    override read(): never {
      throw new TypeError('read is broken');
    }
  }
  const fs = new Faulty();
  fs.addFile('file', Buffer.from('data'));
  const { path, log, session } = await serve(t, fs);
  t.match((await run(['cat', path('file')])).stderr.toString(), /Input\/output error/);
  t.equal((await run(['ls', path('')])).stdout.toString(), 'file\n');
  t.match(log[0], /READ of node \d+ failed: TypeError: read is broken/);
  t.ok(session.counters.faults > 0);
});

t.test('a killed caller ends although its call never would, and the operation learns of it', async (t) => {
  let waiting = 0;
  let cancelled = 0;
  class Stuck extends MemoryFileSystem {
    override async open(ctx: RequestContext): Promise<never> {
      waiting += 1;
      await new Promise<void>((resolve) => ctx.onCancel(resolve));
      cancelled += 1;
      throw new FuseError(Errno.EINTR);
    }
  }
  const fs = new Stuck();
  fs.addFile('file', Buffer.from('data'));
  const { path } = await serve(t, fs, { interruptGraceMs: 50 });
  const reader = start(['cat', path('file')]);
  await until('the call is under way', () => waiting > 0);
  reader.signal('SIGKILL');
  t.equal((await reader.ended).signal, 'SIGKILL');
  t.equal(cancelled, 1);
});

t.test('a reader that is killed while the kernel fills the page cache for it ends at once', async (t) => {
  const gate = new Gate();
  class Held extends MemoryFileSystem {
    override async read(): Promise<Uint8Array> {
      await gate.wait();
      return Buffer.alloc(0);
    }
  }
  const fs = new Held();
  fs.addFile('file', Buffer.from('data'));
  const { path, session } = await serve(t, fs);
  const reader = start(['cat', path('file')]);
  await until('the READ is pending', () => gate.waiting > 0);
  reader.signal('SIGKILL');
  t.equal((await reader.ended).signal, 'SIGKILL');
  gate.open();
  await session.idle();
});

t.test('a signal handler does not make a slow call fail within the grace', async (t) => {
  const gate = new Gate();
  class Slow extends MemoryFileSystem {
    override async getattr(ctx: RequestContext, nodeid: number) {
      if (nodeid !== this.root.id) {
        await gate.wait();
        if (ctx.cancelled) throw new FuseError(Errno.EINTR);
      }
      return super.getattr(ctx, nodeid);
    }
  }
  const fs = new Slow({ attrValidMs: 0 });
  fs.addFile('file', Buffer.from('data'));
  const { path, session } = await serve(t, fs, { interruptGraceMs: 60_000 });
  // ctypes, because Python itself repeats interrupted calls.
  const caller = start(
    python(
      `import ctypes, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
buffer = ctypes.create_string_buffer(4096)
print(libc.statx(-100, sys.argv[1].encode(), 0x2000, 0x7ff, buffer), ctypes.get_errno())`,
      path('file'),
    ),
  );
  await until('the caller is interrupted', () => (session.counters.requests.INTERRUPT ?? 0) > 0);
  gate.open();
  t.match((await caller.ended).stdout.toString(), /^0 /);
});

t.test(
  'more pending writes than fit keep nobody else waiting, and are all answered in the end',
  { timeout: 180_000 },
  async (t) => {
    const gate = new Gate();
    class Slow extends MemoryFileSystem {
      override async write(ctx: RequestContext, nodeid: number, write: FuseWrite) {
        await gate.wait();
        return super.write(ctx, nodeid, write);
      }
    }
    const fs = new Slow();
    const writers = 80;
    const { path } = await serve(t, fs);
    const flood = start(
      python(
        `import os, sys, threading
def one(i):
    with open(f"{sys.argv[1]}/{i}", "wb", 0) as f:
        f.write(bytes([i]) * (1 << 20))
threads = [threading.Thread(target=one, args=(i,)) for i in range(${writers})]
for x in threads: x.start()
for x in threads: x.join()`,
        path(''),
      ),
    );
    await until('as many writes are pending as fit', () => gate.waiting >= 60);
    const listed = await run(['ls', path('')], { timeoutMs: 60_000 });
    t.equal(listed.status, 0, 'others are served meanwhile');
    await until('every write was seen, and could be interrupted', () => gate.waiting === writers, 60_000);
    gate.open();
    t.equal((await flood.ended).status, 0);
    for (let i = 0; i < writers; i++) {
      const node = fs.root.children.get(String(i));
      if (node?.data.subarray(0, node.size).equals(Buffer.alloc(1 << 20, i)) !== true)
        t.fail(`file ${i} is damaged`);
    }
  },
);

t.test(
  'aborting the connection frees waiting callers, also those that wait for a notification',
  async (t) => {
    for (const how of ['session', 'kernel'] as const) {
      const gate = new Gate();
      class Held extends MemoryFileSystem {
        override async read(): Promise<never> {
          await gate.wait();
          throw new FuseError(Errno.EIO);
        }
      }
      const fs = new Held();
      const file = fs.addFile('file', Buffer.from('content'));
      const { path, session, mount } = await serve(t, fs);
      const reader: Background = start(['cat', path('file')]);
      await until('the READ is pending', () => gate.waiting > 0);
      const notice = session.notifier.invalidatePages(file.id, 0, 0);
      await pendingAfter(notice, ['stat', '-f', mount.mountpoint]);
      if (how === 'session') session.abort();
      else t.equal(await mount.abort(), true);
      await notice;
      t.equal((await reader.ended).status, 1);
      // Where /sys/fs/fuse/connections is not mounted, it is a forced unmount.
      const force = how === 'kernel' && !existsSync(`/sys/fs/fuse/connections/${mount.minor}`);
      t.equal(await session.closed, force ? 'unmounted' : 'aborted');
      t.equal(fs.destroyed, 1);
      t.match(
        (await run(['stat', '-f', mount.mountpoint])).stderr.toString(),
        /not connected|connection abort/i,
      );
    }
  },
);

t.test('locks reach the file system, and a killed waiter gives up', async (t) => {
  const fs = new MemoryFileSystem();
  fs.addFile('file', Buffer.from('content'));
  const { path, session } = await serve(t, fs, { interruptGraceMs: 20 });
  const program = `import fcntl, sys, time
f = open(sys.argv[1], 'r+')
getattr(fcntl, sys.argv[2])(f, fcntl.LOCK_EX)
print('locked', flush=True)
time.sleep(1000)`;
  for (const kind of ['lockf', 'flock']) {
    const holder = start(python(program, path('file'), kind));
    await until('the lock is held', () => holder.output.includes('locked'));
    const before = session.counters.requests.SETLKW ?? 0;
    const waiter = start(python(program, path('file'), kind));
    await until('the waiter waits', () => (session.counters.requests.SETLKW ?? 0) > before);
    waiter.signal('SIGKILL');
    t.equal((await waiter.ended).signal, 'SIGKILL');
    const heir = start(python(program, path('file'), kind));
    holder.signal('SIGKILL');
    await until('the lock is free again', () => heir.output.includes('locked'));
    heir.signal('SIGKILL');
    await Promise.all([holder.ended, heir.ended]);
  }
});

t.test('the kernel gives back every reference that it was given', async (t) => {
  const fs = new MemoryFileSystem();
  for (let i = 0; i < 300; i++) fs.addFile(`f${i}`, Buffer.from('x'));
  const { path, mount, session } = await serve(t, fs);
  await run(['sh', '-c', `cd ${path('')} && ls -l >/dev/null && cat f* >/dev/null && mkdir d && rm f1*`]);
  await run(['sh', '-c', 'echo 2 > /proc/sys/vm/drop_caches']);
  const held = () => [...fs.nodes.values()].filter((node) => node !== fs.root && node.lookups !== 0);
  await until('all is forgotten', () => held().length === 0);
  await mount.unmount();
  t.equal(await session.closed, 'unmounted');
  t.equal(fs.destroyed, 1);
  t.equal(
    [...fs.nodes.values()].some((node) => node.lookups < 0),
    false,
  );
});

t.test('a mount that is in use is not unmounted, unless lazily', async (t) => {
  const fs = new MemoryFileSystem();
  fs.addFile('file', Buffer.from('content'));
  const { path, mount, session } = await serve(t, fs);
  const user = start(['sh', '-c', `exec 3<${path('file')}; echo open; read line; cat <&3`], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  await until('the file is open', () => user.output.includes('open'));
  await t.rejects(mount.unmount(), { code: 'busy' });
  await mount.unmount({ lazy: true });
  t.equal((await run(['ls', path('')])).stdout.toString(), '', 'gone for new callers');
  user.child.stdin?.end('\n');
  t.match((await user.ended).stdout.toString(), /content/, 'but not for old ones');
  t.equal(await session.closed, 'unmounted');
});

t.test('read-ahead can be raised as root, and larger reads follow', async (t) => {
  const sizes: number[] = [];
  class Recording extends MemoryFileSystem {
    override read(ctx: RequestContext, nodeid: number, read: FuseRead) {
      sizes.push(read.size);
      return super.read(ctx, nodeid, read);
    }
  }
  const fs = new Recording();
  fs.addFile('file', Buffer.alloc(8 << 20));
  const { path, mount } = await serve(t, fs);
  t.equal(await mount.setReadAhead(1024), true);
  await run(['cat', path('file')]);
  t.ok(Math.max(...sizes) >= 512 * 1024, `largest READ ${Math.max(...sizes)}`);
});
