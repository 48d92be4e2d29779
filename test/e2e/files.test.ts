/** Opening, reading, writing and mapping files: what POSIX promises, on every server and way to mount. */
import { constants } from 'node:fs';
import { readFile } from 'node:fs/promises';
import t from 'tap';
import { errnoOf } from '../support/agent.js';
import { showBehaviours } from '../support/behaviours.js';
import { EVERYWHERE } from '../support/variants.js';

const { O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR, O_SYNC, O_TRUNC, O_WRONLY } =
  constants;

/** `length` bytes that name their offset. */
function pattern(length: number, seed = 0): Buffer {
  return Buffer.from(
    Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 7 + seed) & 0xff),
  );
}

showBehaviours(t, EVERYWHERE, {
  'O_CREAT makes a file once, O_EXCL refuses one that is there': async (t, { fs }) => {
    await fs.umask(0o027);
    await fs.closeFd(await fs.open('file', O_CREAT | O_EXCL | O_WRONLY, 0o666));
    const { mode, size, nlink } = await fs.stat('file');
    t.same([mode, size, nlink], [0o100640, 0, 1], 'the umask applies');
    t.equal(await errnoOf(fs.open('file', O_CREAT | O_EXCL | O_WRONLY)), 'EEXIST');
    await fs.closeFd(await fs.open('file', O_CREAT | O_RDWR));
    await fs.symlink('nowhere', 'dangling');
    t.equal(
      await errnoOf(fs.open('dangling', O_CREAT | O_EXCL | O_WRONLY)),
      'EEXIST',
      'a dangling symlink too',
    );
    await fs.closeFd(await fs.open('dangling', O_CREAT | O_WRONLY));
    t.equal((await fs.stat('nowhere')).size, 0, 'without O_EXCL its target is made');
  },

  'a file made without any permission can be written through its descriptor': async (t, { fs }) => {
    const fd = await fs.open('file', O_CREAT | O_EXCL | O_RDWR, 0o000);
    await fs.write(fd, 'secret');
    t.equal((await fs.pread(fd, 10, 0)).toString(), 'secret');
    await fs.closeFd(fd);
    t.equal((await fs.stat('file')).mode, 0o100000);
  },

  'a file made read-only is written by its maker': async (t, { fs }) => {
    const fd = await fs.open('file', O_CREAT | O_WRONLY, 0o444);
    await fs.write(fd, 'object');
    await fs.closeFd(fd);
    t.equal((await fs.readFile('file')).toString(), 'object');
  },

  'open flags are held to what they say': async (t, { fs }) => {
    await fs.writeFile('file', 'content');
    await fs.mkdir('folder');
    await fs.symlink('file', 'link');
    const reader = await fs.open('file', O_RDONLY);
    t.equal(await errnoOf(fs.write(reader, 'x')), 'EBADF', 'write on O_RDONLY');
    const writer = await fs.open('file', O_WRONLY);
    t.equal(await errnoOf(fs.read(writer, 1)), 'EBADF', 'read on O_WRONLY');
    t.equal(await errnoOf(fs.open('absent', O_RDONLY)), 'ENOENT');
    t.equal(await errnoOf(fs.open('file/x', O_RDONLY)), 'ENOTDIR');
    t.equal(await errnoOf(fs.open('file', O_RDONLY | O_DIRECTORY)), 'ENOTDIR');
    t.equal(await errnoOf(fs.open('folder', O_WRONLY)), 'EISDIR');
    t.equal(await errnoOf(fs.open('link', O_RDONLY | O_NOFOLLOW)), 'ELOOP');
    await fs.symlink('loop', 'loop');
    t.equal(await errnoOf(fs.open('loop', O_RDONLY)), 'ELOOP');
  },

  'O_TRUNC empties, and only then': async (t, { fs }) => {
    await fs.writeFile('file', 'a longer content');
    await fs.closeFd(await fs.open('file', O_WRONLY));
    t.equal((await fs.stat('file')).size, 16);
    const fd = await fs.open('file', O_WRONLY | O_TRUNC);
    t.equal((await fs.fstat(fd)).size, 0);
    await fs.write(fd, 'short');
    await fs.closeFd(fd);
    t.equal((await fs.readFile('file')).toString(), 'short');
  },

  'O_APPEND writes at the end wherever the offset is': async (t, { fs }) => {
    await fs.writeFile('file', 'one');
    const first = await fs.open('file', O_RDWR | O_APPEND);
    const second = await fs.open('file', O_WRONLY | O_APPEND);
    await fs.write(first, ' two');
    await fs.write(second, ' three');
    await fs.lseek(first, 0, 0);
    await fs.write(first, ' four');
    t.equal((await fs.pread(first, 100, 0)).toString(), 'one two three four');
    t.equal((await fs.fstat(first)).size, 18);
  },

  'ftruncate and truncate shrink and grow, and grown parts read as zeros': async (
    t,
    { fs, server, folder },
  ) => {
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.write(fd, pattern(10_000));
    await fs.ftruncate(fd, 5000);
    t.equal((await fs.fstat(fd)).size, 5000);
    await fs.ftruncate(fd, 9000);
    const expected = Buffer.concat([pattern(5000), Buffer.alloc(4000)]);
    t.ok((await fs.pread(fd, 20_000, 0)).equals(expected), 'through the descriptor');
    await fs.closeFd(fd);
    t.ok((await readFile(`${server.directory}/${folder}/file`)).equals(expected), "on the server's disk");
    await fs.truncate('file', 3);
    t.ok((await fs.readFile('file')).equals(pattern(3)));
    t.equal(await errnoOf(fs.truncate('.', 0)), 'EISDIR');
    const reader = await fs.open('file', O_RDONLY);
    t.equal(await errnoOf(fs.ftruncate(reader, 0)), 'EINVAL', 'not through O_RDONLY');
  },

  'writing behind the end leaves a hole of zeros': async (t, { fs }) => {
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.pwrite(fd, 'end', 300_001);
    t.equal((await fs.fstat(fd)).size, 300_004);
    const data = await fs.pread(fd, 400_000, 0);
    t.ok(data.equals(Buffer.concat([Buffer.alloc(300_001), Buffer.from('end')])));
  },

  'reads and writes of any size at any offset': async (t, { fs, server, folder }) => {
    const model = Buffer.alloc(300_000);
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.write(fd, model);
    let state = 1;
    const random = (below: number) => {
      state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
      return state % below;
    };
    for (let step = 0; step < 200; step++) {
      const at = random(290_000);
      const length = 1 + random(step % 5 === 0 ? 9000 : 700);
      if (step % 3 === 0) {
        const seen = await fs.pread(fd, length, at);
        if (!seen.equals(model.subarray(at, at + length)))
          t.fail(`step ${step}: ${length} bytes at ${at} differ`);
      } else {
        const data = pattern(length, step);
        await fs.pwrite(fd, data, at);
        data.copy(model, at);
      }
    }
    t.ok((await fs.pread(fd, 400_000, 0)).equals(model.subarray(0, 300_000)), 'before close');
    await fs.closeFd(fd);
    t.ok((await fs.readFile('file')).equals(model), 'after close');
    t.ok((await readFile(`${server.directory}/${folder}/file`)).equals(model), "on the server's disk");
  },

  'O_DIRECT reads and writes': async (t, { fs }) => {
    const data = pattern(65_536);
    await fs.writeFile('file', Buffer.alloc(131_072));
    t.equal(await fs.writeDirect('file', 65_536, data), 65_536);
    t.ok((await fs.readDirect('file', 65_536, 65_536)).equals(data));
    t.ok((await fs.readFile('file')).subarray(65_536).equals(data), 'and the page cache agrees');
    await fs.writeFile('file', pattern(5000));
    t.equal((await fs.readDirect('file', 4096, 8192)).length, 904, 'a short read at the end');
  },

  'O_SYNC data is on the server when write returns': async (t, { fs, server, folder }) => {
    const fd = await fs.open('file', O_CREAT | O_WRONLY | O_SYNC);
    await fs.write(fd, 'stable');
    t.equal((await readFile(`${server.directory}/${folder}/file`)).toString(), 'stable');
  },

  'fsync and fdatasync bring data to the server': async (t, { fs, server, folder }) => {
    const onDisk = async () => (await readFile(`${server.directory}/${folder}/file`)).toString();
    const fd = await fs.open('file', O_CREAT | O_WRONLY);
    await fs.write(fd, 'one');
    await fs.fsync(fd);
    t.equal(await onDisk(), 'one');
    await fs.write(fd, ' two');
    await fs.fdatasync(fd);
    t.equal(await onDisk(), 'one two');
    const directory = await fs.open('.', O_RDONLY | O_DIRECTORY);
    await fs.fsync(directory);
  },

  'close brings data to the server, also of a duplicate': async (t, { fs, server, folder }) => {
    const onDisk = async () => (await readFile(`${server.directory}/${folder}/file`)).toString();
    const fd = await fs.open('file', O_CREAT | O_WRONLY);
    const copy = await fs.dup(fd);
    await fs.write(fd, 'written');
    await fs.closeFd(copy);
    t.equal(await onDisk(), 'written', 'after the first close');
    await fs.write(fd, ' more');
    await fs.closeFd(fd);
    t.equal(await onDisk(), 'written more', 'after the last');
  },

  'a read sees what another descriptor just wrote': async (t, { fs }) => {
    const writer = await fs.open('file', O_CREAT | O_WRONLY);
    const reader = await fs.open('file', O_RDONLY);
    for (let round = 0; round < 50; round++) {
      await fs.pwrite(writer, `round ${round}!`, round * 1000);
      const seen = (await fs.pread(reader, 100, round * 1000)).toString();
      if (seen !== `round ${round}!`) t.fail(`round ${round} reads ${seen}`);
    }
    t.equal((await fs.fstat(reader)).size, 49_009);
  },

  'mmap reads the file, and what is stored in it is written': async (t, { fs, server, folder }) => {
    const data = pattern(100_000);
    await fs.writeFile('file', data);
    const fd = await fs.open('file', O_RDWR);
    const map = await fs.mmap(fd, 100_000, true);
    t.ok((await fs.mapRead(map, 0, 100_000)).equals(data), 'reading');
    await fs.mapWrite(map, 50_000, 'stored through the map');
    t.equal((await fs.pread(fd, 22, 50_000)).toString(), 'stored through the map', 'read(2) sees it');
    await fs.pwrite(fd, 'written beside it', 70_000);
    t.equal((await fs.mapRead(map, 70_000, 17)).toString(), 'written beside it', 'the map sees write(2)');
    await fs.msync(map);
    await fs.closeFd(fd);
    const onDisk = await readFile(`${server.directory}/${folder}/file`);
    t.equal(
      onDisk.subarray(50_000, 50_022).toString(),
      'stored through the map',
      'msync brings it to the server',
    );
    await fs.mapWrite(map, 10, 'after close');
    await fs.munmap(map);
    t.equal(
      (await fs.readFile('file')).subarray(10, 21).toString(),
      'after close',
      'a map outlives its descriptor',
    );
  },

  'parallel writers to one file lose nothing': async (t, { fs, server, folder }) => {
    await fs.writeFile('blocks', '');
    const statuses = await fs.parallelWrite('blocks', 4, 200, 5000);
    t.same(statuses, [0, 0, 0, 0]);
    const expected = Buffer.alloc(200 * 5000);
    for (let block = 0; block < 200; block++)
      expected.fill(65 + (block % 4), block * 5000, (block + 1) * 5000);
    t.ok((await fs.readFile('blocks')).equals(expected), 'interleaved blocks');
    t.ok((await readFile(`${server.directory}/${folder}/blocks`)).equals(expected), "on the server's disk");

    await fs.writeFile('lines', '');
    t.same(await fs.parallelAppend('lines', 4, 100), [0, 0, 0, 0]);
    const lines = (await fs.readFile('lines')).toString().trimEnd().split('\n');
    const wanted = [0, 1, 2, 3].flatMap((writer) =>
      Array.from({ length: 100 }, (_, line) => `${writer} ${line}`),
    );
    t.same(lines.sort(), wanted.sort(), 'O_APPEND lines of several processes');
  },

  'a program runs from the mount': async (t, { fs, mount, folder }) => {
    await mount.mustRun(['cp', '/bin/echo', `${folder}/program`]);
    const { status, stdout } = await fs.execute(['./program', 'it', 'runs']);
    t.same([status, stdout.toString()], [0, 'it runs\n']);
    await fs.chmod('program', 0o644);
    t.equal(await errnoOf(fs.execute(['./program'])), 'EACCES', 'not without an x bit');
  },

  'what NFSv3 has not says so': async (t, { fs }) => {
    await fs.writeFile('file', 'content');
    const fd = await fs.open('file', O_RDWR);
    t.equal(await errnoOf(fs.fallocate(fd, 0, 0, 4096)), 'EOPNOTSUPP', 'fallocate');
    t.equal(await errnoOf(fs.fallocate(fd, 3, 0, 4096)), 'EOPNOTSUPP', 'punching a hole');
    t.equal(await errnoOf(fs.setxattr('file', 'user.name', 'value')), 'EOPNOTSUPP', 'setxattr');
    t.equal(await errnoOf(fs.getxattr('file', 'user.name')), 'EOPNOTSUPP', 'getxattr');
    t.equal(await fs.lseek(fd, 2, 3), 2, 'SEEK_DATA: the file is all data');
    t.equal(await fs.lseek(fd, 2, 4), 7, 'SEEK_HOLE: the only hole is the end');
  },
});
