/** Names, links, folders and special files: what POSIX promises, on every server and way to mount. */
import { constants, lstatSync, readdirSync } from 'node:fs';
import t from 'tap';
import { errnoOf } from '../support/agent.js';
import { showBehaviours } from '../support/behaviours.js';
import { until } from '../support/process.js';
import { EVERYWHERE, type TestServer } from '../support/variants.js';

const { O_CREAT, O_RDONLY, O_RDWR, S_IFMT, S_IFIFO, S_IFSOCK, S_IFBLK, S_IFCHR, S_IFLNK } = constants;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;

/** The names on the server's disk. The kernel reports the last close only after close(2) has returned, so they may be late. */
function left(server: TestServer, folder: string): string[] {
  return readdirSync(`${server.directory}/${folder}`).sort();
}

showBehaviours(t, EVERYWHERE, {
  'rename moves, replaces, and keeps the object': async (t, { fs }) => {
    await fs.writeFile('a', 'content of a');
    await fs.writeFile('b', 'content of b');
    const { ino } = await fs.stat('a');
    await fs.rename('a', 'b');
    t.equal(await errnoOf(fs.stat('a')), 'ENOENT');
    t.equal((await fs.readFile('b')).toString(), 'content of a');
    t.equal((await fs.stat('b')).ino, ino, 'the same inode');
    await fs.rename('b', 'b');
    t.equal((await fs.stat('b')).nlink, 1, 'onto itself: nothing happens');
    await fs.mkdir('folder');
    await fs.rename('b', 'folder/c');
    t.same(await fs.list('.'), [Buffer.from('folder')]);
    t.equal((await fs.stat('folder/c')).ino, ino, 'into another folder');
  },

  'rename of two links to one file does nothing': async (t, { fs }) => {
    await fs.writeFile('a', 'x');
    await fs.link('a', 'b');
    await fs.rename('a', 'b');
    t.same(await fs.list('.'), [Buffer.from('a'), Buffer.from('b')]);
  },

  'rename of folders': async (t, { fs }) => {
    await fs.mkdir('one');
    await fs.writeFile('one/file', 'x');
    await fs.mkdir('empty');
    await fs.mkdir('full');
    await fs.writeFile('full/file', 'y');
    await fs.writeFile('plain', 'z');
    t.equal(await errnoOf(fs.rename('one', 'one/inside')), 'EINVAL', 'into itself');
    t.match(await errnoOf(fs.rename('one', 'full')), /^(ENOTEMPTY|EEXIST)$/, 'over a full one');
    t.equal(await errnoOf(fs.rename('one', 'plain')), 'ENOTDIR', 'a folder over a file');
    t.equal(await errnoOf(fs.rename('plain', 'empty')), 'EISDIR', 'a file over a folder');
    t.equal(await errnoOf(fs.rename('absent', 'x')), 'ENOENT');
    const { ino } = await fs.stat('one');
    await fs.rename('one', 'empty');
    t.equal((await fs.stat('empty')).ino, ino, 'over an empty one');
    t.equal((await fs.readFile('empty/file')).toString(), 'x');
    t.equal(await errnoOf(fs.stat('one')), 'ENOENT');
  },

  'a folder moved elsewhere has another parent': async (t, { fs }) => {
    await fs.mkdir('from');
    await fs.mkdir('to');
    await fs.mkdir('from/child');
    await fs.rename('from/child', 'to/child');
    t.equal((await fs.stat('to/child/..')).ino, (await fs.stat('to')).ino);
    t.equal((await fs.stat('from')).nlink < 4, true);
  },

  'rename with flags is refused, as NFS clients do': async (t, { fs, serverName }) => {
    if (serverName === 'local') return;
    await fs.writeFile('a', 'x');
    await fs.writeFile('b', 'y');
    t.equal(await errnoOf(fs.renameat2('a', 'c', RENAME_NOREPLACE)), 'EINVAL', 'RENAME_NOREPLACE');
    t.equal(await errnoOf(fs.renameat2('a', 'b', RENAME_EXCHANGE)), 'EINVAL', 'RENAME_EXCHANGE');
    t.same(await fs.list('.'), [Buffer.from('a'), Buffer.from('b')], 'nothing was moved');
  },

  'link counts are right, and a link is the same file': async (t, { fs }) => {
    await fs.writeFile('a', 'x');
    await fs.link('a', 'b');
    t.same([(await fs.stat('a')).nlink, (await fs.stat('b')).nlink], [2, 2]);
    t.equal((await fs.stat('a')).ino, (await fs.stat('b')).ino);
    await fs.writeFile('b', 'written through b');
    t.equal((await fs.readFile('a')).toString(), 'written through b');
    t.equal((await fs.stat('a')).size, 17, 'the size too');
    await fs.unlink('a');
    t.equal((await fs.stat('b')).nlink, 1);
    t.equal(await errnoOf(fs.link('b', 'b')), 'EEXIST');
    await fs.mkdir('folder');
    t.equal(await errnoOf(fs.link('folder', 'c')), 'EPERM', 'no links to folders');
    t.equal(await errnoOf(fs.link('absent', 'c')), 'ENOENT');
  },

  "a folder's link count is that of its subfolders": async (t, { fs }) => {
    await fs.mkdir('folder');
    t.equal((await fs.stat('folder')).nlink, 2);
    await fs.mkdir('folder/one');
    await fs.mkdir('folder/two');
    t.equal((await fs.stat('folder')).nlink, 4);
    await fs.rmdir('folder/one');
    t.equal((await fs.stat('folder')).nlink, 3);
  },

  'symlinks keep their text': async (t, { fs, mount, folder }) => {
    const texts = ['target', '../x/./y//z', '/absolute/path', 'x'.repeat(1000), ' \n\t', '\u{1f600}'];
    for (const [index, text] of texts.entries()) {
      await fs.symlink(text, `link${index}`);
      t.equal((await fs.readlink(`link${index}`)).toString(), text);
      const { mode, size } = await fs.lstat(`link${index}`);
      t.same([mode & S_IFMT, size], [S_IFLNK, Buffer.byteLength(text)]);
    }
    await fs.writeFile('target', 'reached');
    t.equal((await fs.readFile('link0')).toString(), 'reached');
    await fs.symlink(`${mount.path}/${folder}/target`, 'through-the-mount');
    t.equal((await fs.readFile('through-the-mount')).toString(), 'reached');
    t.equal(await errnoOf(fs.readlink('target')), 'EINVAL', 'a file is no symlink');
    t.equal(await errnoOf(fs.symlink('x', 'link0')), 'EEXIST');
    await fs.unlink('link0');
    t.equal((await fs.readFile('target')).toString(), 'reached', 'unlink takes the link only');
  },

  'FIFOs and sockets are made, and a FIFO works': async (t, { fs, server, folder }) => {
    await fs.mkfifo('fifo', 0o640);
    await fs.bindSocket('socket');
    t.equal((await fs.lstat('fifo')).mode, S_IFIFO | 0o640);
    t.equal((await fs.lstat('socket')).mode & S_IFMT, S_IFSOCK);
    t.ok(lstatSync(`${server.directory}/${folder}/fifo`).isFIFO(), "on the server's disk");
    const { stdout } = await fs.execute(['sh', '-c', 'echo through > fifo & cat fifo']);
    t.equal(stdout.toString(), 'through\n');
    t.equal(await errnoOf(fs.mkfifo('fifo')), 'EEXIST');
    await fs.unlink('fifo');
    await fs.unlink('socket');
  },

  'device nodes are made by root, with their numbers': async (
    t,
    { fs, place, serverName, server, folder },
  ) => {
    const device = (0x12 << 8) | 0x34 | (0x56 << 20);
    if (!place.privileged) {
      t.equal(await errnoOf(fs.mknod('device', S_IFBLK | 0o600, device)), 'EPERM', 'and by nobody else');
      return;
    }
    await fs.mknod('block', S_IFBLK | 0o600, device);
    await fs.mknod('character', S_IFCHR | 0o600, 0x0103);
    t.same([(await fs.stat('block')).mode, (await fs.stat('block')).rdev], [S_IFBLK | 0o600, device]);
    t.equal((await fs.stat('character')).rdev, 0x0103);
    t.equal(lstatSync(`${server.directory}/${folder}/block`).rdev, device, `as ${serverName} stores it`);
  },

  'mkdir and rmdir': async (t, { fs }) => {
    await fs.umask(0o027);
    await fs.mkdir('folder', 0o777);
    t.equal((await fs.stat('folder')).mode, 0o040750);
    t.equal(await errnoOf(fs.mkdir('folder')), 'EEXIST');
    t.equal(await errnoOf(fs.mkdir('absent/folder')), 'ENOENT');
    await fs.writeFile('folder/file', 'x');
    t.match(await errnoOf(fs.rmdir('folder')), /^(ENOTEMPTY|EEXIST)$/, 'not empty');
    t.equal(await errnoOf(fs.rmdir('folder/file')), 'ENOTDIR');
    t.equal(await errnoOf(fs.unlink('folder')), 'EISDIR');
    await fs.unlink('folder/file');
    await fs.rmdir('folder');
    t.equal(await errnoOf(fs.stat('folder')), 'ENOENT');
    t.equal(await errnoOf(fs.rmdir('folder')), 'ENOENT');
  },

  'an unlinked file is read and written while it is open': async (t, { fs, server, folder }) => {
    await fs.writeFile('file', 'before');
    const fd = await fs.open('file', O_RDWR);
    await fs.unlink('file');
    t.equal(await errnoOf(fs.stat('file')), 'ENOENT', 'its name is gone');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'before', 'reading goes on');
    await fs.pwrite(fd, ' and after', 6);
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'before and after', 'writing too');
    await fs.ftruncate(fd, 3);
    t.equal((await fs.fstat(fd)).size, 3, 'and ftruncate');
    await fs.writeFile('file', 'a new one');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'bef', 'a new file of the name is another');
    await fs.unlink('file');
    await fs.closeFd(fd);
    await until("nothing is left on the server's disk", () => left(server, folder).length === 0);
    t.same(await fs.list('.'), [], 'nothing is left in the mount');
  },

  'a file replaced by rename is read while it is open': async (t, { fs, server, folder }) => {
    await fs.writeFile('file', 'old');
    const fd = await fs.open('file', O_RDONLY);
    await fs.writeFile('new', 'new content');
    await fs.rename('new', 'file');
    t.equal((await fs.pread(fd, 100, 0)).toString(), 'old');
    t.equal((await fs.readFile('file')).toString(), 'new content');
    await fs.closeFd(fd);
    await until('nothing else is left', () => left(server, folder).join() === 'file');
  },

  'a file made, unlinked while open and closed, again and again': async (t, { fs, server, folder }) => {
    for (let round = 0; round < 200; round++) {
      const fd = await fs.open('file', O_CREAT | O_RDWR);
      await fs.write(fd, `round ${round}`);
      await fs.unlink('file');
      const seen = (await fs.pread(fd, 100, 0)).toString();
      if (seen !== `round ${round}`) t.fail(`round ${round} reads ${seen}`);
      await fs.closeFd(fd);
    }
    await until('nothing is left', () => left(server, folder).length === 0);
  },

  'st_dev and st_ino tell objects apart': async (t, { fs }) => {
    await fs.makeFiles('.', 'file', 0, 100);
    const inodes = new Set<bigint>();
    const devices = new Set<number>();
    for (let index = 0; index < 100; index++) {
      const { ino, dev } = await fs.stat(`file${String(index).padStart(7, '0')}`);
      inodes.add(ino);
      devices.add(dev);
    }
    t.equal(inodes.size, 100);
    t.equal(devices.size, 1);
  },
});
