/** Files of 2^53 bytes and more: sizes are exact, and reads and writes there fail rather than reach another place. */
import { constants } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { errnoOf } from '../support/agent.js';
import { publicFolder } from '../support/folders.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun, run } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const { O_APPEND, O_RDWR, O_WRONLY } = constants;
const LIMIT = 2n ** 53n;
/** The agent takes offsets as JSON, which has no large integers: they go as text. */
const SHELL = (script: string, ...args: string[]) => ['python3', '-c', `import os, sys\n${script}`, ...args];

t.test('a file that is longer than 2^53 bytes', async (t) => {
  const scratch = publicFolder();
  const served = join(scratch.path, 'served');
  await mkdir(served);
  // tmpfs is one of the few file systems whose files may be so long.
  await mustRun(['mount', '-t', 'tmpfs', 'none', served]);
  const server = await EmbeddedServer.start({ path: served, rootSquash: false });
  const place = await openPlace('root');
  t.teardown(async () => {
    await server.close();
    await run(['umount', '-l', served]);
    await place.close();
    await scratch.remove();
  });
  await writeFile(join(served, 'huge'), 'start');
  await mustRun(['truncate', '-s', String(LIMIT + 5n), join(served, 'huge')]);
  await writeFile(join(served, 'small'), 'start');
  const source = {
    host: '127.0.0.1',
    exportPath: server.exportName,
    mountOptions: [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`],
  };
  const mount = untilEnd(t, await Mount.start({ source, place }));
  const agent = await mount.agent();
  const says = async (script: string): Promise<string> => {
    const { status, stdout, stderr } = await agent.execute(SHELL(script));
    if (status !== 0) throw new Error(stderr.toString());
    return stdout.toString().trim();
  };
  const tries = (statement: string) =>
    says(
      `try:\n  print(${statement})\nexcept OSError as e:\n  import errno\n  print(errno.errorcode[e.errno])`,
    );

  t.equal(await says(`print(os.stat('huge').st_size)`), String(LIMIT + 5n));
  t.equal(await says(`print(os.lseek(os.open('huge', os.O_RDONLY), -1, os.SEEK_END))`), String(LIMIT + 4n));
  t.equal((await agent.readFile('small')).toString(), 'start');
  for (const name of ['huge', 'small']) {
    const writes = (at: bigint) => tries(`os.pwrite(os.open('${name}', os.O_RDWR), b'data', ${at})`);
    t.equal(await writes(LIMIT), 'EFBIG', `${name}: a write at 2^53`);
    t.equal(await writes(LIMIT + 4097n), 'EFBIG', `${name}: and beyond`);
    t.equal(await writes(LIMIT - 2n), 'EFBIG', `${name}: a write across it`);
  }
  const reads = (name: string, at: bigint) => tries(`os.pread(os.open('${name}', os.O_RDONLY), 4, ${at})`);
  t.equal(await reads('huge', LIMIT), 'EFBIG', 'a read at 2^53');
  t.equal(await reads('huge', LIMIT - 4096n), String.raw`b'\x00\x00\x00\x00'`, 'a read before it');
  t.equal(await reads('small', LIMIT), `b''`, 'beyond the end of a short file');
  const fd = await agent.open('huge', O_WRONLY | O_APPEND);
  t.equal(await errnoOf(agent.write(fd, 'more')), 'EFBIG', 'an append');
  await agent.closeFd(fd);
  const small = await agent.open('small', O_RDWR);
  t.equal(await errnoOf(agent.fallocate(small, 0, 0, 10)), 'EOPNOTSUPP');
  await agent.closeFd(small);
  t.equal(await mustRun(['head', '-c', '5', join(served, 'huge')]), 'start', 'nothing was written elsewhere');
  t.equal(await mustRun(['cat', join(served, 'small')]), 'start');
  t.equal(await says(`os.truncate('huge', 3); print(os.stat('huge').st_size)`), '3', 'it can be made short');
});
