/** A sparse file of 5 GiB: offsets beyond 4 GiB, holes, and its size on the server's disk. */
import { constants, statSync } from 'node:fs';
import t from 'tap';
import { EVERYWHERE, overVariants } from '../support/variants.js';

const GIB = 2 ** 30;
const END = 5 * GIB;

overVariants(t, EVERYWHERE, async (t, { mount, server }) => {
  const fs = await mount.agent();
  const fd = await fs.open('sparse', constants.O_CREAT | constants.O_EXCL | constants.O_RDWR);
  const places = [
    { at: 0, text: 'at the very beginning' },
    { at: 2 * GIB - 7, text: 'across the 2 GiB mark' },
    { at: 4 * GIB - 7, text: 'across the 4 GiB mark' },
    { at: 4 * GIB + 12_345, text: 'beyond 4 GiB' },
    { at: END - 11, text: 'at the end!' },
  ];
  for (const { at, text } of places) t.equal(await fs.pwrite(fd, text, at), text.length, text);
  await fs.fsync(fd);
  t.equal((await fs.fstat(fd)).size, END, 'size by fstat');
  await fs.closeFd(fd);
  t.equal(statSync(`${server.directory}/sparse`).size, END, 'size on the server');
  t.ok(statSync(`${server.directory}/sparse`).blocks < 2048, 'the server stores less than 1 MiB of it');

  const again = await fs.open('sparse', constants.O_RDONLY);
  for (const { at, text } of places) {
    const around = await fs.pread(again, text.length + 8192, Math.max(0, at - 4096));
    const start = at === 0 ? 0 : 4096;
    t.equal(around.subarray(start, start + text.length).toString(), text, `${text}: read back`);
    const before = around.subarray(0, start);
    const after = around.subarray(start + text.length);
    t.ok(before.every((byte) => byte === 0) && after.every((byte) => byte === 0), `${text}: zeros around it`);
  }
  const hole = await fs.pread(again, 1 << 20, 3 * GIB);
  t.ok(hole.length === 1 << 20 && hole.every((byte) => byte === 0), 'a hole reads as zeros');
  t.equal((await fs.pread(again, 100, END)).length, 0, 'nothing at the end of the file');
  t.equal((await fs.pread(again, 100, END + GIB)).length, 0, 'nothing beyond it');
  t.equal(await fs.lseek(again, -11, 2), END - 11, 'seeking from the end');
  t.equal((await fs.read(again, 100)).toString(), 'at the end!');
  await fs.closeFd(again);

  await fs.truncate('sparse', 4 * GIB + 5);
  t.equal((await fs.stat('sparse')).size, 4 * GIB + 5, 'truncated beyond 4 GiB');
  await fs.truncate('sparse', END);
  const regrown = await fs.open('sparse', constants.O_RDONLY);
  const tail = await fs.pread(regrown, 20_000, 4 * GIB + 5);
  t.ok(
    tail.length === 20_000 && tail.every((byte) => byte === 0),
    'the part that truncate cut off reads as zeros',
  );
  await fs.closeFd(regrown);
  await fs.unlink('sparse');
});
