/**
 * Objects that vanish or are replaced while this mount has them cached, open, or as a working directory. The other
 * client is a second mount of the same server.
 */
import { constants } from 'node:fs';
import t, { type Test } from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { statsOf } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { startServer } from '../support/variants.js';

const { O_RDONLY, O_RDWR } = constants;
const MiB = 1 << 20;

/** The cache is trusted for a minute, so that an operation meets the stale handle and not an expired attribute. */
const TRUSTING = ['actimeo=60'];
/** Nothing is trusted. */
const ASKING = ['actimeo=0'];

interface TwoClients {
  readonly here: Agent;
  readonly there: Agent;
  /** NFS calls that this mount has made. */
  calls(): Promise<number>;
  mount: Mount;
}

/** Runs `body` with two mounts of one export, for both servers. */
function withTwoClients(
  name: string,
  options: readonly string[],
  body: (t: Test, clients: TwoClients) => Promise<void>,
): void {
  t.test(name, async (t) => {
    for (const kind of ['ganesha', 'embedded'] as const) {
      await t.test(kind, { timeout: 60_000 }, async (t) => {
        const place = untilEnd(t, await openPlace('root'));
        const server = untilEnd(t, await startServer(kind, place));
        const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
        const other = untilEnd(t, await Mount.start({ source: server, place, options: ['noac'] }));
        const calls = async () =>
          (await statsOf(mount)).procedures.reduce((sum, { calls: each }) => sum + each, 0);
        try {
          await body(t, { here: await mount.agent(), there: await other.agent(), calls, mount });
        } catch (error) {
          t.comment(mount.log);
          throw error;
        }
        t.notMatch(mount.log, /ESTALE/);
      });
    }
  });
}

const text = async (agent: Agent, path: string) => (await agent.readFile(path)).toString();
const run = async (agent: Agent, script: string) => {
  const { status, stderr } = await agent.execute(['sh', '-ec', script]);
  if (status !== 0) throw new Error(`${script}: ${stderr.toString()}`);
};

withTwoClients('a directory that is deleted and made again', TRUSTING, async (t, { here, there }) => {
  await run(there, 'mkdir -p top/sub; echo old > top/sub/file; echo old > top/sub/other');
  t.equal(await text(here, 'top/sub/file'), 'old\n');
  t.equal(await text(here, 'top/sub/other'), 'old\n');
  await here.list('top');
  await run(there, 'rm -r top; mkdir -p top/sub; echo new > top/sub/file');
  t.equal(await text(here, 'top/sub/file'), 'new\n', 'the new file, at once');
  t.equal(await errnoOf(here.stat('top/sub/other')), 'ENOENT');
  t.same((await here.list('top/sub')).map(String), ['file']);
});

const CHANGES: readonly [string, (agent: Agent) => Promise<unknown>][] = [
  ['create', (agent) => agent.writeFile('top/sub/made', 'x')],
  ['mkdir', (agent) => agent.mkdir('top/sub/made')],
  ['symlink', (agent) => agent.symlink('target', 'top/sub/made')],
  ['link', (agent) => agent.link('top/sub/file', 'top/sub/made')],
  ['unlink', (agent) => agent.unlink('top/sub/file')],
  ['rename', (agent) => agent.rename('top/sub/file', 'top/moved')],
  ['chmod', (agent) => agent.chmod('top/sub/file', 0o640)],
  ['truncate', (agent) => agent.truncate('top/sub/file', 2)],
  ['rmdir', (agent) => agent.rmdir('top/sub/inner')],
  ['chdir', (agent) => agent.chdir('top/sub/inner')],
  ['list', (agent) => agent.list('top/sub/inner')],
  ['exec', (agent) => agent.execute(['top/sub/program'])],
];
withTwoClients(
  'every operation in a directory that was made again',
  TRUSTING,
  async (t, { here, there, mount }) => {
    for (const [name, change] of CHANGES) {
      const make = `rm -rf top; mkdir -p top/sub/inner; echo content > top/sub/file
      printf '#!/bin/sh\\n' > top/sub/program; chmod +x top/sub/program`;
      await run(there, make);
      const agent = await mount.agent();
      await run(
        here,
        'find . > /dev/null; cat top/sub/file top/sub/program > /dev/null; ls -l top/sub top/sub/inner > /dev/null',
      );
      await run(there, make);
      t.equal(await errnoOf(change(agent)), 'no error', name);
      await agent.close();
    }
    t.same((await there.list('top/sub')).map(String), ['file', 'inner', 'program']);
  },
);

withTwoClients('a deep path, gone from the top', TRUSTING, async (t, { here, there, calls }) => {
  const depth = 40;
  const deep = Array.from({ length: depth }, (_, level) => `d${level}`).join('/');
  await run(there, `mkdir -p ${deep}; echo old > ${deep}/file`);
  t.equal(await text(here, `${deep}/file`), 'old\n');
  await run(there, `rm -r d0; mkdir -p ${deep}; echo new > ${deep}/file`);
  const before = await calls();
  t.equal(await text(here, `${deep}/file`), 'new\n');
  const needed = (await calls()) - before;
  t.ok(needed < 10 * depth, `${needed} calls for ${depth} levels`);
  await run(there, 'rm -r d0');
  t.equal(await errnoOf(here.readFile(`${deep}/file`)), 'ENOENT');
  t.equal(await errnoOf(here.stat('d0')), 'ENOENT');
});

withTwoClients('a directory that another one is renamed over', TRUSTING, async (t, { here, there }) => {
  await run(there, 'mkdir top; mkdir new; echo new > new/file');
  t.same(await here.list('top'), []);
  t.equal(await errnoOf(here.stat('top/file')), 'ENOENT');
  await run(there, 'mv -T new top');
  // "No such file" is trusted as long as everything else; the directory's own handle is not.
  t.equal(await errnoOf(here.writeFile('top/made', 'x')), 'no error');
  t.equal(await text(there, 'top/made'), 'x');
  t.equal(await text(here, 'top/file'), 'new\n');
});

withTwoClients('the working directory is gone', ASKING, async (t, { here, there, mount, calls }) => {
  await run(there, 'mkdir -p top/sub; echo old > top/sub/file');
  const inside = await mount.agent({ cwd: `${mount.path}/top/sub` });
  t.same((await inside.list('.')).map(String), ['file']);
  await run(there, 'rm -r top');
  const before = await calls();
  t.equal(await errnoOf(inside.stat('.')), 'ENOENT');
  t.equal(await errnoOf(inside.stat('file')), 'ENOENT');
  t.equal(await errnoOf(inside.list('.')), 'ENOENT');
  t.equal(await errnoOf(inside.writeFile('made', 'x')), 'ENOENT');
  t.equal(await errnoOf(inside.mkdir('made')), 'ENOENT');
  t.equal(await errnoOf(inside.chdir('.')), 'ENOENT');
  t.equal(await errnoOf(inside.stat('..')), 'ENOENT');
  const needed = (await calls()) - before;
  t.ok(needed < 7 * 20, `no loop: ${needed} calls for 7 operations`);
  await run(there, 'mkdir -p top/sub; echo new > top/sub/file');
  t.equal(await errnoOf(inside.stat('.')), 'ENOENT', 'the new directory of that name is another one');
  t.equal(await text(here, 'top/sub/file'), 'new\n');
  await inside.chdir(`${mount.path}/top/sub`);
  t.equal(await text(inside, 'file'), 'new\n', 'going there again leads to it');
});

withTwoClients('an open directory that is gone has no more entries', TRUSTING, async (t, { here, there }) => {
  await run(there, 'mkdir top; touch top/a');
  const stream = await here.dirOpen('top');
  const fd = await here.open('top', O_RDONLY);
  await run(there, 'rm -r top');
  t.same(await here.dirRest(stream), [], 'as a local directory that was removed');
  t.equal((await here.fstat(fd)).nlink, 0);
  t.equal(await errnoOf(here.call('fchdir', fd)), 'ENOENT');
});

withTwoClients(
  'an open file that is replaced: never the new file’s data',
  TRUSTING,
  async (t, { here, there }) => {
    const old = Buffer.alloc(4 * MiB, 'o');
    await there.writeFile('file', old);
    const reader = await here.open('file', O_RDONLY);
    const writer = await here.open('file', O_RDWR);
    t.same(await here.pread(reader, 10, 0), old.subarray(0, 10));
    await there.writeFile('other', Buffer.alloc(4 * MiB, 'n'));
    await there.rename('other', 'file');
    for (const offset of [0, MiB, 2 * MiB, 3 * MiB + 17]) {
      const data = await here
        .pread(reader, 100, offset)
        .catch((error: Error & { code?: string }) => error.code);
      if (data !== 'EIO') t.same(data, old.subarray(0, 100), `offset ${offset}`);
    }
    // The server decides whether the old object still takes the data.
    await here.pwrite(writer, 'written', 0);
    t.match(await errnoOf(here.fsync(writer)), /^(EIO|no error)$/);
    await here.ftruncate(writer, 5).catch((error: Error & { code?: string }) => t.equal(error.code, 'EIO'));
    t.equal((await here.fstat(reader)).ino, (await here.fstat(writer)).ino);
    const now = await here.readFile('file');
    t.equal(now.length, 4 * MiB);
    t.ok(
      now.every((byte) => byte === 'n'.charCodeAt(0)),
      'by its name it is the new file, untouched',
    );
  },
);

withTwoClients(
  'an open file whose file number is given to the next file',
  TRUSTING,
  async (t, { here, there }) => {
    await there.writeFile('file', Buffer.alloc(2 * MiB, 'o'));
    const { ino } = await here.stat('file');
    const reader = await here.open('file', O_RDONLY);
    await here.pread(reader, 10, 0);
    // ext4 gives a freed number out again at once, though not always the last one.
    await there.unlink('file');
    let reused = false;
    for (let attempt = 0; attempt < 64 && !reused; attempt++) {
      await there.writeFile(`next${attempt}`, Buffer.alloc(2 * MiB, 'n'));
      reused = (await there.stat(`next${attempt}`)).ino === ino;
      if (reused) await there.rename(`next${attempt}`, 'file');
    }
    t.comment(reused ? 'the number was given out again' : 'the number was not given out again');
    if (!reused) await there.writeFile('file', Buffer.alloc(2 * MiB, 'n'));
    const data = await here
      .pread(reader, 100, 2 * MiB - 4096)
      .catch((error: Error & { code?: string }) => error.code);
    t.match(String(data), /^(EIO|o{100})$/);
    t.equal((await text(here, 'file')).slice(0, 3), 'nnn');
  },
);
