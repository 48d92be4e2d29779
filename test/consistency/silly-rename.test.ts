/** A file that loses its name while it is open stays usable for those who have it open, and goes at the last close. */
import { constants, readdirSync } from 'node:fs';
import t, { type Test } from 'tap';
import { errnoOf } from '../support/agent.js';
import { mustRun, until } from '../support/process.js';
import { type Clients, twoMounts } from '../support/two-mounts.js';
import type { TestServer } from '../support/variants.js';

const { O_CREAT, O_RDONLY, O_RDWR } = constants;

/** All names in the export. */
function names(server: TestServer): string[] {
  return readdirSync(server.directory, { recursive: true }).map(String).sort();
}

function nothingLeft(server: TestServer, but: readonly string[] = []): Promise<void> {
  return until(`nothing is left but [${but}]`, () => names(server).join() === but.join());
}

/** `nfs-fuse is told to stop` is the last one: it takes the mounts that all share. */
type Scene = (t: Test, clients: Clients) => Promise<void>;

const SCENES: Record<string, Scene> = {
  'open once': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', 'content');
    const fd = await fs.open('file', O_RDWR);
    await fs.unlink('file');
    t.match(names(server).join(), /^\.nfs[0-9a-f]{24}$/, 'the server keeps it by another name');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
    await fs.pwrite(fd, 'CON', 0);
    await fs.ftruncate(fd, 4);
    await fs.fsync(fd);
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'CONt');
    const { size, nlink } = await fs.fstat(fd);
    t.same([size, nlink], [4, 0], 'fstat');
    await fs.fchmod(fd, 0o600);
    t.equal((await fs.fstat(fd)).mode & 0o777, 0o600);
    await fs.closeFd(fd);
    await nothingLeft(server);
  },

  'open several times': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', 'content');
    const fds = [
      await fs.open('file', O_RDONLY),
      await fs.open('file', O_RDWR),
      await fs.open('file', O_RDWR),
    ];
    fds.push(await fs.dup(fds[0] ?? -1));
    await fs.unlink('file');
    for (const fd of fds) {
      t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
      await fs.closeFd(fd);
    }
    await nothingLeft(server);
  },

  'open in another process': async (t, { server, a }) => {
    const other = await a.mount.agent();
    await a.fs.writeFile('file', 'content');
    const fd = await other.open('file', O_RDWR);
    await a.fs.unlink('file');
    t.equal((await other.pread(fd, 100, 0)).toString(), 'content');
    await other.closeFd(fd);
    await nothingLeft(server);
  },

  'open across fork': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', 'content');
    const fd = await fs.open('file', O_RDWR);
    await fs.unlink('file');
    t.equal((await fs.inChild<Buffer>('pread', fd, 100, 0)).toString(), 'content', 'the child reads');
    await fs.inChild('pwrite', fd, Buffer.from('by the child'), 0);
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'by the child', 'the parent goes on after it has ended');
    await fs.closeFd(fd);
    await nothingLeft(server);
  },

  'mapped, with no descriptor left': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', Buffer.alloc(10_000, 'm'));
    const fd = await fs.open('file', O_RDWR);
    const map = await fs.mmap(fd, 10_000, true);
    await fs.closeFd(fd);
    await fs.unlink('file');
    t.equal((await fs.mapRead(map, 9000, 5)).toString(), 'mmmmm');
    await fs.mapWrite(map, 5000, 'stored');
    await fs.msync(map);
    t.equal((await fs.mapRead(map, 5000, 6)).toString(), 'stored');
    await fs.munmap(map);
    await nothingLeft(server);
  },

  'renamed before': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', 'content');
    const fd = await fs.open('file', O_RDWR);
    await fs.rename('file', 'renamed');
    await fs.unlink('renamed');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
    await fs.closeFd(fd);
    await nothingLeft(server);
  },

  'in a directory that is renamed meanwhile': async (t, { server, a: { fs } }) => {
    await fs.mkdir('folder');
    await fs.writeFile('folder/file', 'content');
    const fd = await fs.open('folder/file', O_RDWR);
    await fs.unlink('folder/file');
    await fs.rename('folder', 'elsewhere');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
    t.match(await errnoOf(fs.rmdir('elsewhere')), /^(ENOTEMPTY|EEXIST)$/, 'as with the kernel client');
    await fs.closeFd(fd);
    await nothingLeft(server, ['elsewhere']);
    await fs.rmdir('elsewhere');
    await nothingLeft(server);
  },

  'replaced by rename': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', 'old');
    await fs.writeFile('new', 'new content');
    const fd = await fs.open('file', O_RDWR);
    await fs.rename('new', 'file');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'old');
    t.equal((await fs.readFile('file')).toString(), 'new content');
    await fs.closeFd(fd);
    await nothingLeft(server, ['file']);
    await fs.unlink('file');
    await nothingLeft(server);
  },

  'replaced by rename again and again, each still open': async (t, { server, a: { fs } }) => {
    const fds: number[] = [];
    for (let round = 0; round < 20; round++) {
      await fs.writeFile('new', `round ${round}`);
      await fs.rename('new', 'file');
      fds.push(await fs.open('file', O_RDONLY));
    }
    for (const [round, fd] of fds.entries()) {
      const seen = (await fs.pread(fd, 100, 0)).toString();
      if (seen !== `round ${round}`) t.fail(`descriptor ${round} reads ${seen}`);
    }
    await fs.unlink('file');
    for (const fd of fds) await fs.closeFd(fd);
    await nothingLeft(server);
  },

  'one of two links': async (t, { server, a: { fs } }) => {
    await fs.writeFile('one', 'content');
    await fs.link('one', 'two');
    const fd = await fs.open('one', O_RDWR);
    await fs.unlink('one');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
    await fs.unlink('two');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
    await fs.closeFd(fd);
    await nothingLeft(server);
  },

  'the name is used again at once': async (t, { server, a: { fs } }) => {
    const fds: number[] = [];
    for (let round = 0; round < 20; round++) {
      const fd = await fs.open('file', O_CREAT | O_RDWR | constants.O_EXCL);
      await fs.write(fd, `round ${round}`);
      await fs.unlink('file');
      fds.push(fd);
    }
    for (const [round, fd] of fds.entries()) {
      const seen = (await fs.pread(fd, 100, 0)).toString();
      if (seen !== `round ${round}`) t.fail(`descriptor ${round} reads ${seen}`);
      await fs.closeFd(fd);
    }
    await nothingLeft(server);
  },

  'the hidden name cannot be unlinked while the file is open': async (t, { server, a: { fs } }) => {
    await fs.writeFile('file', 'content');
    const fd = await fs.open('file', O_RDWR);
    await fs.unlink('file');
    const [hidden = ''] = names(server);
    t.equal(await errnoOf(fs.unlink(hidden)), 'EBUSY');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'content');
    await fs.closeFd(fd);
    await nothingLeft(server);
  },

  'the process that holds it is killed': async (t, { server, a }) => {
    const other = await a.mount.agent();
    await a.fs.writeFile('file', 'content');
    await other.open('file', O_RDWR);
    await a.fs.unlink('file');
    t.equal(names(server).length, 1);
    other.process.signal('SIGKILL');
    await nothingLeft(server);
  },

  'nfs-fuse is told to stop while files are open': async (t, { server, a, b }) => {
    await a.fs.writeFile('file', 'content');
    await a.fs.open('file', O_RDWR);
    await a.fs.unlink('file');
    await b.fs.writeFile('of-b', 'content');
    const elsewhere = await b.fs.open('of-b', O_RDONLY);
    await a.fs.unlink('of-b');
    a.mount.signal('SIGTERM');
    t.match(await a.mount.exit(), { status: 0 }, 'it ends, though a file is open');
    await nothingLeft(server);
    t.match(
      await errnoOf(b.fs.pread(elsewhere, 100, 0)),
      /^(EIO|ESTALE|no error)$/,
      'another client is not protected',
    );
    await b.fs.closeFd(elsewhere);
  },
};

for (const kind of ['ganesha', 'embedded'] as const) {
  t.test(kind, { timeout: 240_000 }, async (t) => {
    const { a, b, ...rest } = await twoMounts(t, kind);
    for (const [name, scene] of Object.entries(SCENES)) {
      await t.test(name, async (t) => {
        const agents = [await a.mount.agent(), await b.mount.agent()] as const;
        try {
          await scene(t, { ...rest, a: { ...a, fs: agents[0] }, b: { ...b, fs: agents[1] } });
        } finally {
          await Promise.all(agents.map((agent) => agent.close()));
          // Only a scene that failed leaves files behind; they must not make the next one fail, too.
          await mustRun(['find', rest.server.directory, '-mindepth', '1', '-delete']);
        }
      });
    }
  });
}
