/**
 * Hazards that a FUSE session must survive, on a real mount served by this very process: faults of the file system,
 * signals, blocked notifications, floods of writes, abort.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Errno } from '../../lib/fuse/contract/errno.js';
import type { FuseRead, FuseWrite, RequestContext } from '../../lib/fuse/contract/operations.js';
import {
  FuseError,
  FuseSession,
  type KernelMount,
  mountKernel,
  OpenFlag,
  type SessionOptions,
} from '../../lib/fuse/index.js';
import { publicFolder } from '../support/folders.js';
import { MemoryFileSystem } from '../support/memory-fs.js';
import { type Background, run, start, until } from '../support/process.js';

interface Served {
  readonly mount: KernelMount;
  readonly session: FuseSession;
  readonly log: string[];
  path(name: string): string;
}

/** Mounts `fs` as root until the test ends, whatever state the mount is in then. */
async function serve(t: Test, fs: MemoryFileSystem, options: SessionOptions = {}): Promise<Served> {
  const folder = publicFolder();
  const mount = await mountKernel({ mountpoint: folder.path, source: 'memory', method: 'direct' });
  const log: string[] = [];
  const session = new FuseSession(mount.fd, fs, { log: (line) => log.push(line), drainMs: 0, ...options });
  t.teardown(async () => {
    session.abort();
    await mount.unmount({ lazy: true });
    await session.closed;
    await folder.remove();
  });
  await session.ready;
  return { mount, session, log, path: (name) => join(mount.mountpoint, name) };
}

/** Something that operations wait for until the test lets them go. */
class Gate {
  waiting = 0;
  #open: () => void = () => {};
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });
  async wait(): Promise<void> {
    this.waiting += 1;
    await this.#opened;
  }
  open(): void {
    this.#open();
  }
}

/** Whether `promise` is still pending after this process has served another program from start to end. */
async function pendingAfter(promise: Promise<unknown>, argv: readonly string[]): Promise<boolean> {
  let pending = true;
  const settled = () => {
    pending = false;
  };
  promise.then(settled, settled);
  const outcome = await run(argv, { timeoutMs: 10_000 });
  if (outcome.status !== 0) throw new Error(outcome.stderr.toString());
  return pending;
}

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
  'the invalidation of a page that a pending READ holds waits, and everything else is served',
  async (t) => {
    const gate = new Gate();
    class Held extends MemoryFileSystem {
      override async read(ctx: RequestContext, nodeid: number, read: FuseRead) {
        await gate.wait();
        return super.read(ctx, nodeid, read);
      }
    }
    const fs = new Held({ attrValidMs: 0, entryValidMs: 0 });
    const file = fs.addFile('file', Buffer.from('content'));
    fs.addFile('other', Buffer.from(''));
    const { path, session, log } = await serve(t, fs);
    const reader = start(['cat', path('file')]);
    await until('the READ is pending', () => gate.waiting > 0);
    const notice = session.notifier.invalidatePages(file.id, 0, 0);
    t.equal(await pendingAfter(notice, ['ls', '-l', path('')]), true, 'the page is locked until the answer');
    session.notifier.invalidateAttributes(file.id);
    t.equal(await pendingAfter(notice, ['touch', path('new')]), true, 'attributes can be dropped meanwhile');
    gate.open();
    await notice;
    t.equal((await reader.ended).stdout.toString(), 'content');
    t.same(log, []);
  },
);

t.test('the invalidation of a name in a directory that a pending MKDIR has locked waits, too', async (t) => {
  const gate = new Gate();
  class Held extends MemoryFileSystem {
    override async mkdir(ctx: RequestContext, parent: number, name: Buffer, mode: number) {
      await gate.wait();
      return super.mkdir(ctx, parent, name, mode);
    }
  }
  const fs = new Held();
  fs.addFile('file', Buffer.from('content'));
  const { path, session, mount } = await serve(t, fs);
  await run(['stat', path('file')]);
  const maker = start(['mkdir', path('dir')]);
  await until('the MKDIR is pending', () => gate.waiting > 0);
  const notice = session.notifier.invalidateEntry(fs.root.id, Buffer.from('file'));
  t.equal(await pendingAfter(notice, ['stat', '-f', mount.mountpoint]), true);
  gate.open();
  await notice;
  t.equal((await maker.ended).status, 0);
});

t.test('the kernel asks again for pages and names that were invalidated', async (t) => {
  const fs = new MemoryFileSystem({
    attrValidMs: 3_600_000,
    entryValidMs: 3_600_000,
    openFlags: OpenFlag.KEEP_CACHE,
  });
  const file = fs.addFile('file', Buffer.from('before'));
  const { path, session } = await serve(t, fs);
  const cat = async (): Promise<string> => (await run(['cat', path('file')])).stdout.toString();
  t.equal(await cat(), 'before');
  file.data = Buffer.from('after!');
  t.equal(await cat(), 'before', 'cached by the kernel');
  await session.notifier.invalidatePages(file.id, 0, 0);
  t.equal(await cat(), 'after!');
  fs.root.children.delete('file');
  t.equal(await cat(), 'after!', 'the name is cached too');
  await session.notifier.invalidateEntry(fs.root.id, Buffer.from('file'));
  t.match((await run(['cat', path('file')])).stderr.toString(), /No such file/);
});

t.test(
  'a file that another client changed in size is never a mixture of old pages and new size',
  async (t) => {
    const fs = new MemoryFileSystem({
      attrValidMs: 3_600_000,
      entryValidMs: 3_600_000,
      openFlags: OpenFlag.KEEP_CACHE,
    });
    const file = fs.addFile('file', Buffer.from('before'));
    const { path, session } = await serve(t, fs);
    const cat = async (): Promise<string> => (await run(['cat', path('file')])).stdout.toString();
    t.equal(await cat(), 'before');
    for (const content of ['before, and more', 'less', 'x'.repeat(10_000)]) {
      file.data = Buffer.from(content);
      file.size = content.length;
      session.notifier.invalidateAttributes(file.id);
      t.equal(await cat(), content);
    }
  },
);

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
