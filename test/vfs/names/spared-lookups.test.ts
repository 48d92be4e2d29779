/** Lookups that are not sent since the next call makes the name: harmless for the kernel, and for the error that a program gets. */
import t from 'tap';
import { Errno } from '../../../lib/fuse/contract/errno.js';
import type { CreationIntents } from '../../../lib/fuse/contract/operations.js';
import { Status } from '../../../lib/programs/nfs3/index.js';
import type { Caller } from '../../../lib/vfs/caller/caller.js';
import type { ClientConfig } from '../../../lib/vfs/config.js';
import { named } from '../support/named.js';
import { outcome, Rig, TestContext } from '../support/rig.js';

interface Asked {
  readonly pid: number;
  readonly uid: number;
  readonly parent: number;
  readonly name: string;
}

/** A rig whose programs are said to make every name; `meanwhile` runs while that is found out. */
function setup(config: Partial<ClientConfig> = {}, makes = true) {
  const asked: Asked[] = [];
  const during = { meanwhile: async (): Promise<void> => {} };
  const intents: CreationIntents = {
    async makes({ pid, uid }, parent, name) {
      asked.push({ pid, uid, parent, name });
      await during.meanwhile();
      return makes;
    },
  };
  const rig = new Rig({ config: { directCreate: true, ...config }, intents });
  const program = (uid = 0, tid = 7): Caller => ({ ...rig.caller(uid, tid), request: new TestContext(uid) });
  const look = (name: string, caller = program()) => rig.lookup.entry(rig.root, named(name), caller);
  return { rig, asked, during, program, look };
}

t.test('a name that is about to be made is not looked up, and nobody may go by the answer', async (t) => {
  const { rig, asked, look } = setup();
  t.same(await look('new'), { nodeid: 0, entryValidMs: 0 });
  t.same(asked, [{ pid: 7, uid: 0, parent: 1, name: 'new' }]);
  t.equal(rig.server.names(), '');
  t.equal(rig.vfs.dentries.getUnverified(rig.root, named('new')), undefined);
  t.equal(rig.counters.lookupsSpared, 1);
});

t.test('it is looked up where the program does something else', async (t) => {
  const { rig, look } = setup({}, false);
  rig.server.tree.file('there');
  t.match(await look('there'), { attrValidMs: 3000 });
  t.equal(rig.server.names(), 'LOOKUP');
  t.equal(rig.counters.lookupsSpared, 0);
});

t.test('by default a lookup is spared once the server has proved to be far away', async (t) => {
  const of = (count: number, milliseconds: number) => Array.from({ length: count }, () => milliseconds);
  // The time that LOOKUPs took, and how many of the next are spared.
  for (const [took, spared] of [
    [of(3, 5), 0],
    [of(4, 5), 1],
    [of(4, 0.45), 1],
    [[...of(15, 5), 0.39], 0],
    [[0.1, ...of(15, 5)], 0],
    [[0.1, ...of(16, 5)], 1],
  ] as const) {
    const { rig, look } = setup({ directCreate: 'far' });
    for (const [index, milliseconds] of took.entries()) {
      rig.server.once('LOOKUP', (_args, execute) => {
        rig.clock.advance(milliseconds);
        return execute();
      });
      // A caller without a request is never spared a lookup.
      await rig.lookup.entry(rig.root, named(`${index}`), rig.caller());
    }
    await look('new');
    t.equal(rig.counters.lookupsSpared, spared, `after ${took.join()}`);
  }
});

t.test('nothing is asked of the program where it would not help', async (t) => {
  for (const [what, config] of [
    ['nodirectcreate', { directCreate: false }],
    ['ro', { readOnly: true }],
  ] as const) {
    const { rig, asked, look } = setup(config);
    await look('new');
    t.same([asked, rig.server.names()], [[], 'LOOKUP'], what);
  }
  const { rig, asked, program, look } = setup();
  await look('own', rig.caller());
  t.same([asked, rig.server.names()], [[], 'LOOKUP'], 'our own work');
  rig.server.forgetCalls();
  await look('.', program());
  await look('own', program());
  t.same([asked, rig.server.names()], [[], ''], 'what is known to be absent');
});

t.test('a name by which the kernel may know something is looked up', async (t) => {
  const { rig, asked, look, during } = setup();
  rig.server.tree.directory('known');
  await rig.walk('known');
  rig.vfs.dentries.delete(rig.root, named('known'));
  rig.server.forgetCalls();
  t.match(await look('known'), { generation: 1 });
  t.same([asked, rig.server.names()], [[], 'LOOKUP']);
  rig.server.tree.directory('found meanwhile');
  during.meanwhile = async () => void (await rig.walk('found meanwhile'));
  t.match(await look('found meanwhile'), { generation: 1 });
});

t.test('a directory that the server does not know any more is looked for', async (t) => {
  const { rig, asked, program } = setup();
  rig.server.tree.directory('d');
  const directory = await rig.walk('d');
  rig.server.tree.remove('d');
  directory.markStale(true);
  await outcome(rig.lookup.entry(directory, named('new'), program()));
  t.same(asked, []);
});

t.test('where the kernel checks modes, only who may add a name is spared the lookup', async (t) => {
  for (const [uid, mode, spared] of [
    [0, 0o000, 1],
    [1000, 0o700, 1],
    [1000, 0o500, 0],
    [1000, 0o077, 0],
    [2000, 0o707, 1],
    [2000, 0o773, 1],
    [2000, 0o772, 0],
    [2000, 0o771, 0],
  ] as const) {
    const { rig, program } = setup({ kernelChecks: true });
    const node = rig.server.tree.directory('d');
    Object.assign(node, { mode, uid: 1000, gid: 1000 });
    const directory = await rig.walk('d');
    await rig.lookup.entry(directory, named('new'), program(uid));
    t.equal(rig.counters.lookupsSpared, spared, `${uid} in ${mode.toString(8)}`);
  }
});

t.test('a name that is there is told as such, whatever else stands against making it', async (t) => {
  const calls = {
    MKDIR: (rig: Rig, caller: Caller) => rig.make.mkdir(rig.root, named('there'), 0o755, caller),
    SYMLINK: (rig: Rig, caller: Caller) =>
      rig.make.symlink(rig.root, named('there'), Buffer.from('to'), caller),
    CREATE: (rig: Rig, caller: Caller) => rig.make.create(rig.root, named('there'), 0o644, true, caller),
    LINK: async (rig: Rig, caller: Caller) =>
      rig.make.link(await rig.walk('file', caller), rig.root, named('there'), caller),
  };
  for (const status of [Status.EXIST, Status.ROFS, Status.ACCES, Status.NOSPC, Status.PERM])
    for (const [call, make] of Object.entries(calls)) {
      const { rig, look, program } = setup();
      rig.server.tree.file('there');
      rig.server.tree.file('file');
      await rig.walk('file');
      const caller = program();
      await look('there', caller);
      rig.server.fail(call, status);
      t.equal(await outcome(make(rig, caller)), Errno.EEXIST, `${call}: ${status}`);
      t.equal(rig.counters.lookupsSpared, 1);
    }
});

t.test('a name that is not there gets the error of the server', async (t) => {
  const { rig, look, program } = setup();
  const caller = program();
  await look('new', caller);
  rig.server.fail('MKDIR', Status.ROFS);
  t.equal(await outcome(rig.make.mkdir(rig.root, named('new'), 0o755, caller)), Errno.EROFS);
  t.equal(rig.server.names(), 'MKDIR LOOKUP');
  rig.server.forgetCalls();
  rig.server.fail('MKDIR', Status.ROFS);
  t.equal(await outcome(rig.make.mkdir(rig.root, named('new'), 0o755, caller)), Errno.EROFS);
  t.equal(rig.server.names(), 'MKDIR', 'of another call, or another name, nothing is asked');
});

t.test('a server that cannot do EXCLUSIVE makes the file all the same', async (t) => {
  const { rig, look, program } = setup();
  rig.server.exclusiveCreate = false;
  const caller = program();
  await look('new', caller);
  await rig.make.create(rig.root, named('new'), 0o644, true, caller);
  t.equal(rig.server.names(), 'CREATE CREATE');
  rig.server.tree.file('there');
  await look('there', caller);
  t.equal(await outcome(rig.make.create(rig.root, named('there'), 0o644, true, caller)), Errno.EEXIST);
});
