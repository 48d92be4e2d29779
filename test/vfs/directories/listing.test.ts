/** One pass over a directory: the entries that it keeps and gives out, and its behaviour where the server is odd. */

import t, { type Test } from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import {
  RpcGarbageArgumentsError,
  RpcGarbageError,
  RpcProcedureUnavailableError,
  RpcSystemError,
  RpcTimeoutError,
} from '../../../lib/rpc/rpc-errors.js';
import { Listing } from '../../../lib/vfs/directories/listing.js';
import { named } from '../support/named.js';
import { outcome, Rig } from '../support/rig.js';

const MiB = 1024 * 1024;

/** A server with a directory `d` of so many files. */
async function directory(entries: number) {
  const rig = new Rig();
  const { server } = rig;
  server.tree.directory('d');
  for (let i = 0; i < entries; i++) server.tree.file(`d/f${i}`);
  const inode = await rig.walk('d');
  const { fh } = await rig.directories.open(inode, rig.caller());
  server.entriesPerReply = 10;
  return { rig, server, inode, fh };
}

/** readdir(3) from a position on, at most so many entries: the names but "." and "..", and the position behind them. */
async function readOn(rig: Rig, fh: number, from: bigint, room: number) {
  const names: string[] = [];
  let position = from;
  for (;;) {
    const before = position;
    const add = (name: Uint8Array, _ino: bigint, _type: number, offset: bigint): boolean => {
      if (names.length >= room) return false;
      const text = Buffer.from(name).toString('latin1');
      if (text !== '.' && text !== '..') names.push(text);
      position = offset;
      return true;
    };
    await rig.directories.read(fh, position, { add, addPlus: add }, false, rig.caller());
    if (position === before || names.length >= room) return { names, position };
  }
}

/** Cookies are worth nothing once the directory has changed: the server begins anew, and does not say so. */
function beginsAnewByItself({ server }: Rig): void {
  let seen = '';
  for (const procedure of ['READDIR', 'READDIRPLUS'] as const) {
    server.on(procedure, (args) => {
      const now = JSON.stringify(server.tree.at('d').mtime);
      const cookie = now === seen ? args.cookie : 0n;
      seen = now;
      return procedure === 'READDIR'
        ? server.do_READDIR({ ...args, cookie })
        : server.do_READDIRPLUS({ ...args, cookie });
    });
  }
}

t.test('no name comes twice from a server that begins a listing anew by itself', async (t) => {
  const { rig, server, fh } = await directory(60);
  beginsAnewByItself(rig);
  const first = await readOn(rig, fh, 0n, 15);
  server.tree.remove('d/f3');
  server.tree.remove('d/f40');
  const second = await readOn(rig, fh, first.position, 20);
  server.tree.file('d/new');
  const rest = await readOn(rig, fh, second.position, 1000);
  const names = [...first.names, ...second.names, ...rest.names];
  t.same(
    names.filter((name, at) => names.indexOf(name) !== at),
    [],
    'no name twice',
  );
  const missing = Array.from({ length: 60 }, (_, i) => `f${i}`).filter((name) => !names.includes(name));
  t.same(missing, ['f40'], 'and none left out');
  t.ok(names.includes('new'));
});

t.test('names are unlinked as they are read, from a server that begins anew by itself', async (t) => {
  const { rig, inode, fh } = await directory(300);
  beginsAnewByItself(rig);
  const removed: string[] = [];
  for (let position = 0n; ; ) {
    const part = await readOn(rig, fh, position, 7);
    if (part.names.length === 0) break;
    for (const name of part.names) {
      await rig.remove.unlink(inode, named(name), rig.caller());
      removed.push(name);
    }
    position = part.position;
  }
  t.equal(removed.length, 300, 'each once, since unlink of a name that is gone fails');
});

t.test('a cookie that comes again after a restart by itself is no circle', async (t) => {
  const { rig, server, fh } = await directory(60);
  // No change that could be seen, and the same cookies.
  server.once('READDIRPLUS', () => server.do_READDIRPLUS({ ...args(rig), cookie: 0n }));
  let calls = 0;
  server.on('READDIRPLUS', (asked, execute) =>
    ++calls === 4 ? server.do_READDIRPLUS({ ...asked, cookie: 0n }) : execute(),
  );
  const { names } = await readOn(rig, fh, 0n, 1000);
  t.equal(names.length, 60);
  t.equal(new Set(names).size, 60);
});

function args(rig: Rig) {
  const directory = rig.server.tree.at('d').handle;
  return { directory, cookie: 0n, cookieVerifier: Buffer.alloc(8), dircount: 4096, maxcount: 4096 };
}

t.test('a server that begins anew for ever ends in an error', async (t) => {
  const { rig, server, fh } = await directory(60);
  let number = 0n;
  server.on('READDIRPLUS', (asked) => {
    const result = server.do_READDIRPLUS({ ...asked, cookie: 0n });
    if (!('entries' in result)) return result;
    // Another cookie each time, as of a directory that changes all the time.
    return { ...result, entries: result.entries.map((entry) => ({ ...entry, cookie: ++number })) };
  });
  t.equal(
    await readOn(rig, fh, 0n, 1000).then(
      () => 'ok',
      (error: { errno: number }) => error.errno,
    ),
    Errno.EIO,
  );
});

t.test('BAD_COOKIE after every change: names are unlinked as they are read', async (t) => {
  const { rig, server, inode, fh } = await directory(1000);
  let seen = '';
  server.on('READDIRPLUS', (asked, execute) => {
    const now = JSON.stringify(server.tree.at('d').mtime);
    const isVoid = asked.cookie !== 0n && now !== seen;
    seen = now;
    return isVoid ? server.failure('READDIRPLUS', Status.BAD_COOKIE) : execute();
  });
  let removed = 0;
  for (let position = 0n; ; ) {
    const part = await readOn(rig, fh, position, 7);
    for (const name of part.names) await rig.remove.unlink(inode, named(name), rig.caller());
    removed += part.names.length;
    if (part.names.length === 0) break;
    position = part.position;
  }
  t.equal(removed, 1000, 'more beginnings than an endless loop would be allowed');
});

/** A directory that exists only in the server's answers: `count` names of 200 bytes; entry n has the cookie n + 1. */
function synthetic(rig: Rig, count: number, present: (index: number) => boolean = () => true): void {
  const answer = (asked: { cookie: bigint }): unknown => {
    const entries: unknown[] = [];
    let index = Number(asked.cookie);
    for (; index < count && entries.length < 500; index++) {
      if (!present(index)) continue;
      const name = named(String(index).padStart(200, '0'));
      entries.push({ name, fileid: BigInt(index + 1000), cookie: BigInt(index + 1), attributes: undefined });
    }
    const directoryAttributes = rig.server.tree.attributes(rig.server.tree.at('d'));
    const cookieVerifier = Buffer.from('cookies!');
    return { status: Status.OK, directoryAttributes, cookieVerifier, entries, eof: index >= count };
  };
  rig.server.on('READDIRPLUS', answer);
  rig.server.on('READDIR', answer);
}

const numbers = (names: readonly string[]): number[] => names.map(Number);

/** Reads all of it, and tells the positions at some places. */
async function readAll(t: Test, rig: Rig, fh: number, count: number, marks: readonly number[]) {
  const positions = new Map<number, bigint>();
  const left = [...marks];
  let next = 0;
  for (let position = 0n; ; ) {
    const part = await readOn(rig, fh, position, 997);
    for (const number of numbers(part.names))
      if (number !== next++) t.fail(`${number} where ${next - 1} belongs`);
    if (part.names.length === 0) break;
    position = part.position;
    const [mark = Number.POSITIVE_INFINITY] = left;
    if (mark >= next) continue;
    positions.set(next, position);
    left.shift();
  }
  t.equal(next, count);
  return positions;
}

t.test(
  'a huge listing is held in part, and read again for programs that go back',
  { timeout: 120_000 },
  async (t) => {
    const COUNT = 100_000;
    const { rig, inode, fh } = await directory(0);
    synthetic(rig, COUNT);
    const positions = await readAll(t, rig, fh, COUNT, [0, 10_000, 50_000, 99_000]);
    for (const [number, position] of [...positions].reverse()) {
      const { names } = await readOn(rig, fh, position, 3000);
      const first = numbers(names);
      const wanted = Array.from({ length: Math.min(3000, COUNT - number) }, (_, i) => number + i);
      t.same(first, wanted, `seekdir to entry ${number}`);
    }
    t.equal((await readOn(rig, fh, 0n, COUNT + 1)).names.length, COUNT, 'and rewinddir to the beginning');
    const listing = new Listing(rig.vfs, inode);
    let most = 0;
    while (!listing.complete) {
      await listing.load(listing.length, false, rig.caller());
      most = Math.max(most, listing.bytes);
    }
    t.equal(listing.length, COUNT);
    t.ok(most < 24 * MiB, `${most} bytes at the most, where the names alone are ${COUNT * 200}`);
  },
);

t.test(
  'a program that goes back in a changed directory finds all entries that are there',
  { timeout: 120_000 },
  async (t) => {
    const COUNT = 100_000;
    const { rig, server, fh } = await directory(0);
    let changed = false;
    synthetic(rig, COUNT, (index) => !changed || index % 3 !== 0);
    const positions = await readAll(t, rig, fh, COUNT, [1000, 5000, 9000]);
    changed = true;
    server.tree.file('d/another');
    for (const [number, position] of positions) {
      const seen = new Set(numbers((await readOn(rig, fh, position, 5000)).names));
      const wanted = Array.from({ length: 3000 }, (_, i) => number + i).filter((one) => one % 3 !== 0);
      t.same(
        wanted.filter((one) => !seen.has(one)),
        [],
        'no hole',
      );
      t.ok(Math.min(...seen) > number - 256, 'and little that was before');
    }
  },
);

t.test('a program that goes back to a void cookie begins anew', { timeout: 120_000 }, async (t) => {
  const COUNT = 100_000;
  const { rig, server, fh } = await directory(0);
  synthetic(rig, COUNT);
  const positions = await readAll(t, rig, fh, COUNT, [1000, 5000, 9000]);
  for (const procedure of ['READDIR', 'READDIRPLUS'] as const) {
    server.once(procedure, () => server.failure(procedure, Status.BAD_COOKIE));
  }
  for (const [number, position] of positions) {
    const { names } = await readOn(rig, fh, position, COUNT * 2);
    const seen = new Set(numbers(names));
    t.equal(seen.size, names.length, 'no name twice');
    t.same(
      [...Array(1000).keys()].filter((at) => !seen.has(number + at)),
      [],
      'and nothing is missing',
    );
  }
});

t.test('a program that opens a directory anew for each part goes on where the last part ended', async (t) => {
  const { rig, server, inode, fh } = await directory(100);
  const part = await readOn(rig, fh, 0n, 40);
  rig.directories.release(fh);
  const names = [...part.names];
  let { position } = part;
  for (let opened = 0; opened < 20; opened++) {
    for (const name of names.slice(-5)) {
      if (server.tree.has(`d/${name}`)) await rig.remove.unlink(inode, named(name), rig.caller());
    }
    const again = await rig.directories.open(inode, rig.caller());
    const next = await readOn(rig, again.fh, position, 10);
    rig.directories.release(again.fh);
    names.push(...next.names);
    position = next.position;
  }
  t.equal(new Set(names).size, names.length, 'no name twice');
  t.equal(names.length, 100, 'and all');
});

const FALLBACKS = [
  Status.IO,
  Status.NXIO,
  Status.INVAL,
  Status.NODEV,
  Status.SERVERFAULT,
  Status.TOOSMALL,
  Status.REMOTE,
  Status.BADTYPE,
];
for (const status of FALLBACKS) {
  t.test(`READDIRPLUS that fails with status ${status}: READDIR is asked, for this directory`, async (t) => {
    const { rig, server, inode, fh } = await directory(25);
    server.tree.directory('other');
    server.tree.file('other/file');
    const { handle } = server.tree.at('d');
    server.on('READDIRPLUS', (asked, execute) =>
      asked.directory === handle ? server.failure('READDIRPLUS', status) : execute(),
    );
    t.equal((await readOn(rig, fh, 0n, 100)).names.length, 25);
    const asked = server.count('READDIRPLUS');
    const again = await rig.directories.open(inode, rig.caller());
    rig.directories.release(fh);
    await rig.list(again.fh);
    await rig.list((await rig.directories.open(inode, rig.caller())).fh);
    t.equal(server.count('READDIRPLUS'), asked, 'remembered');
    t.ok(rig.counters.plusFallbacks === 1);
    server.forgetCalls();
    t.same(await rig.names_('other'), ['file']);
    t.same([server.count('READDIRPLUS'), server.count('READDIR')], [1, 0], 'and only for this directory');
  });
}

t.test('a directory that has changed is asked with READDIRPLUS again', async (t) => {
  const { rig, server, inode, fh } = await directory(5);
  const end = server.fail('READDIRPLUS', Status.SERVERFAULT);
  t.equal((await readOn(rig, fh, 0n, 100)).names.length, 5);
  end();
  server.tree.file('d/new');
  server.forgetCalls();
  const again = await rig.directories.open(inode, rig.caller());
  t.equal((await readOn(rig, again.fh, 0n, 100)).names.length, 6);
  t.equal(server.count('READDIRPLUS') > 0, true);
});

for (const error of [
  new RpcGarbageError('nonsense'),
  new RpcGarbageArgumentsError('NFS'),
  new RpcSystemError('NFS'),
  new RpcProcedureUnavailableError('NFS'),
]) {
  t.test(`READDIRPLUS that comes to ${error.name}: READDIR is asked`, async (t) => {
    const { rig, server, fh } = await directory(25);
    server.on('READDIRPLUS', () => Promise.reject(error));
    t.equal((await readOn(rig, fh, 0n, 100)).names.length, 25);
    t.equal(server.count('READDIRPLUS'), 1);
  });
}

t.test('READDIR is not asked after an error that it would get as well', async (t) => {
  const errors = [
    [Status.ACCES, Errno.EACCES],
    [Status.PERM, Errno.EPERM],
    [Status.NOTDIR, Errno.ENOTDIR],
  ] as const;
  for (const [status, errno] of errors) {
    const { rig, server, fh } = await directory(5);
    server.fail('READDIRPLUS', status);
    t.equal(await outcome(readOn(rig, fh, 0n, 100)), errno);
    t.equal(server.count('READDIR'), 0);
  }
  const { rig, server, fh } = await directory(5);
  server.on('READDIRPLUS', () => Promise.reject(new RpcTimeoutError('no answer', true)));
  t.equal(await outcome(readOn(rig, fh, 0n, 100)), Errno.ETIMEDOUT);
  t.equal(server.count('READDIR'), 0);
});

t.test('the program gets the error of READDIR where that fails, too', async (t) => {
  const { rig, server, fh } = await directory(5);
  server.fail('READDIRPLUS', Status.SERVERFAULT);
  server.fail('READDIR', Status.ACCES);
  t.equal(await outcome(readOn(rig, fh, 0n, 100)), Errno.EACCES);
});

t.test(
  'a storm of lookups lists a directory by names where READDIRPLUS fails, and finds its names',
  async (t) => {
    const { rig, server, inode } = await directory(40);
    server.fail('READDIRPLUS', Status.SERVERFAULT);
    for (let i = 0; i < 40; i++) {
      const found = await rig.lookup.entry(inode, named(`f${i}`), rig.caller());
      if (found.nodeid === 0) t.fail(`f${i} is there`);
    }
  },
);
