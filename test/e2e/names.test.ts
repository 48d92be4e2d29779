/** Names are bytes: every one that the server's disk can hold works, and comes back as it was given. */
import { constants, readdirSync } from 'node:fs';
import t from 'tap';
import { errnoOf } from '../support/agent.js';
import { EVERYWHERE, overVariants } from '../support/variants.js';

const NAMES: readonly (readonly [string, Buffer])[] = [
  ['a newline', Buffer.from('two\nlines')],
  ['255 bytes', Buffer.alloc(255, 'n')],
  ['255 bytes of UTF-8', Buffer.from(`${'ü'.repeat(127)}u`)],
  ['invalid UTF-8', Buffer.from([0x66, 0xff, 0xfe, 0x80, 0xc0, 0x66])],
  ['every byte but NUL and slash, first half', Buffer.from(bytesFrom(1, 128))],
  ['every byte but NUL and slash, second half', Buffer.from(bytesFrom(128, 256))],
  ['surrogates as UTF-8', Buffer.from([0xed, 0xa0, 0x80])],
  ['composed', Buffer.from('\u00e9')],
  ['decomposed', Buffer.from('e\u0301')],
  ['a backslash and an octal escape', Buffer.from('\\040\\n')],
  ['leading and trailing spaces', Buffer.from('  name  ')],
  ['three dots', Buffer.from('...')],
  ['one byte', Buffer.from('x')],
  ['upper case', Buffer.from('X')],
];

function bytesFrom(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index).filter((byte) => byte !== 0x2f);
}

overVariants(t, EVERYWHERE, async (t, { mount, server }) => {
  const fs = await mount.agent();
  const sorted = (names: readonly Buffer[]) => names.map((name) => name.toString('latin1')).sort();

  for (const [what, name] of NAMES) {
    const fd = await fs.open(name, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY);
    await fs.write(fd, name);
    await fs.closeFd(fd);
    t.same(await fs.readFile(name), name, what);
  }
  const all = sorted(NAMES.map(([, name]) => name));
  t.same(sorted(await fs.list('.')), all, 'readdir gives the same bytes');
  const onDisk = readdirSync(server.directory, { encoding: 'buffer' });
  t.same(sorted(onDisk), all, "the server's disk has the same bytes");

  await fs.mkdir('folder');
  for (const [what, name] of NAMES) {
    const there = Buffer.concat([Buffer.from('folder/'), name]);
    await fs.rename(name, there);
    await fs.symlink(name, name);
    t.same(await fs.readlink(name), name, `${what}: renamed, and as a symlink's text`);
    await fs.link(there, Buffer.concat([name.subarray(0, 200), Buffer.from('.hard')]));
    await fs.unlink(there);
    await fs.unlink(name);
    await fs.mkdir(name);
    await fs.rmdir(name);
  }
  await fs.rmdir('folder');

  const tooLong = Buffer.alloc(256, 'n');
  const { O_CREAT, O_WRONLY } = constants;
  t.equal(await errnoOf(fs.open(tooLong, O_CREAT | O_WRONLY)), 'ENAMETOOLONG', 'open of 256 bytes');
  t.equal(await errnoOf(fs.mkdir(tooLong)), 'ENAMETOOLONG', 'mkdir of 256 bytes');
  t.equal(await errnoOf(fs.stat(tooLong)), 'ENAMETOOLONG', 'stat of 256 bytes');
  t.equal(await errnoOf(fs.symlink('x', tooLong)), 'ENAMETOOLONG', 'symlink of 256 bytes');
  t.equal((await fs.statvfs('.')).namemax, 255, 'statvfs says 255');

  const longPath = `${'d'.repeat(200)}/`.repeat(15);
  let folder = '.';
  for (let level = 0; level < 15; level++) {
    folder += `/${'d'.repeat(200)}`;
    await fs.mkdir(folder);
  }
  await fs.writeFile(`${longPath}file`, 'deep');
  t.equal((await fs.readFile(`${longPath}file`)).toString(), 'deep', 'a path of 3 000 bytes');
});
