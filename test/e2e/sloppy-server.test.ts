/**
 * Servers that put values into attributes and listings that no server should send, and servers whose names have another
 * limit. An odd value is at most an error of its own object, and a name that is too long is ENAMETOOLONG.
 */

import { constants } from 'node:fs';
import t, { type Test } from 'tap';
import {
  type ErrorStatus,
  type Fattr3,
  type FileHandle,
  fileNameFromText,
  Status,
} from '../../lib/programs/nfs3/index.js';
import { errnoOf } from '../support/agent.js';
import { type EmbeddedMount, embeddedMount, statsOf } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { mustRun } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const ALWAYS = Number.POSITIVE_INFINITY;

type Body = Readonly<Record<string, unknown>>;

/** Attributes and handles of one object, by its fileid, as this server shows them wherever it does. */
interface Oddity {
  readonly attributes?: Partial<Record<keyof Fattr3, unknown>>;
  readonly handle?: FileHandle;
}

/** The reply with all its attributes of the object changed. */
function distort(result: Body, fileid: bigint, odd: Oddity): Record<string, unknown> {
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(visit);
    if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
    const object = value as Body;
    if ('fsid' in object && object.fileid === fileid) return { ...object, ...odd.attributes };
    const fields = Object.fromEntries(Object.entries(object).map(([name, field]) => [name, visit(field)]));
    const isEntry = 'cookie' in object && object.fileid === fileid;
    if (!isEntry) return fields;
    const shown = odd.attributes?.fileid === undefined ? {} : { fileid: odd.attributes.fileid };
    return { ...fields, ...shown, ...(odd.handle === undefined ? {} : { handle: odd.handle }) };
  };
  return visit(result) as Record<string, unknown>;
}

const tooMany = { seconds: 1_000_000_000, nanoseconds: 0xffff_ffff };
/** The odd value, and the result of lstat(2) of its object: an errno, or what it shows. */
const ODD: Readonly<Record<string, readonly [Oddity, string]>> = {
  'nanoseconds beyond a second': [
    { attributes: { atime: tooMany, mtime: tooMany, ctime: tooMany } },
    'mtimeNs 1000000000999999999',
  ],
  'the last second of 32 bits': [
    { attributes: { mtime: { seconds: 0xffff_ffff, nanoseconds: 0 } } },
    'mtimeNs 4294967295000000000',
  ],
  'a file type that does not exist': [{ attributes: { type: 9 } }, 'EIO'],
  'the file type 0': [{ attributes: { type: 0 } }, 'EIO'],
  'all bits of the mode': [{ attributes: { mode: 0xffff_ffff } }, 'mode 7777'],
  'no links': [{ attributes: { nlink: 0 } }, 'nlink 0'],
  'the greatest size': [{ attributes: { size: (1n << 64n) - 1n } }, 'size 9223372036854775807'],
  'more space used than there is': [{ attributes: { used: (1n << 64n) - 1n } }, 'size 1'],
  'the fileid 0': [{ attributes: { fileid: 0n } }, 'size 1'],
  'the greatest fileid': [{ attributes: { fileid: (1n << 64n) - 1n } }, 'ino 18446744073709551615'],
  'a device number of a plain file': [
    { attributes: { rdevMajor: 0xffff_ffff, rdevMinor: 0xffff_ffff } },
    'size 1',
  ],
  'owners that do not exist': [{ attributes: { uid: 0xffff_fffe, gid: 0xffff_fffe } }, 'size 1'],
};

/** The odd object's own lstat(2), as ODD tells it. */
async function look({ agent }: EmbeddedMount, path: string, field: string): Promise<string> {
  try {
    const stat: Readonly<Record<string, unknown>> = { ...(await agent.lstat(path)) };
    const value = stat[field];
    return `${field} ${field === 'mode' ? (Number(value) & 0o7777).toString(8) : value}`;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

t.test('an odd value of one object leaves its directory readable', { timeout: 120_000 }, async (t) => {
  const ground = await embeddedMount(t, ['actimeo=0']);
  const { agent, mount, server } = ground;
  for (const [index, [what, [odd, expected]]] of Object.entries(ODD).entries()) {
    await t.test(what, async (t) => {
      const folder = `folder${index}`;
      await agent.mkdir(folder);
      for (const name of ['before', 'odd', 'well']) await agent.writeFile(`${folder}/${name}`, 'x');
      const { ino: fileid } = await agent.lstat(`${folder}/odd`);
      const fault = server.faults.add({ times: ALWAYS, alter: (result) => distort(result, fileid, odd) });
      t.same((await agent.list(folder)).map(String).sort(), ['before', 'odd', 'well'], 'all are listed');
      t.equal((await mount.run(['sh', '-c', `ls -U ${folder} | wc -l`])).stdout.toString().trim(), '3');
      t.equal((await agent.lstat(`${folder}/well`)).size, 1, 'the neighbour is well');
      t.equal(await look(ground, `${folder}/odd`, expected.split(' ')[0] ?? ''), expected);
      t.same((await agent.list(folder)).length, 3, 'and once more');
      // An object that cannot be shown to the kernel cannot be named to it either.
      if (expected === 'EIO') fault.remove();
      await agent.unlink(`${folder}/odd`);
      fault.remove();
      t.same((await agent.list(folder)).map(String).sort(), ['before', 'well'], 'the odd one can be removed');
    });
  }
  const { oddValues } = await ground.stats();
  t.ok(oddValues.nanoseconds > 0 && oddValues.fileTypes > 0, 'and every odd value is counted');
  const told = ground.place.command([...ground.place.product, 'stats', mount.path]);
  t.match(await mustRun(told, { cwd: '/' }), /Wrong values from the server: .*nanoseconds/);
});

t.test('impossible entries are left out of a listing', async (t) => {
  const { agent, server, mount } = await embeddedMount(t);
  await agent.mkdir('folder');
  await agent.writeFile('folder/well', 'x');
  const names = ['', 'a/b', 'a\0b', 'n'.repeat(3000)].map(fileNameFromText);
  const alter = (result: Body): Record<string, unknown> => {
    const entries = result.entries as Body[];
    const bad = names.map((name, index) => ({ ...entries.at(-1), name, cookie: BigInt(4000 + index) }));
    return { ...result, entries: [...bad, ...entries] };
  };
  for (const procedure of ['READDIR', 'READDIRPLUS'] as const)
    server.faults.add({ procedure, times: ALWAYS, alter });
  t.same((await agent.list('folder')).map(String), ['well']);
  t.match(mount.log, /impossible name/);
});

/** Every call that takes a name, and its result. */
async function nameAll({ agent }: EmbeddedMount, name: string): Promise<Record<string, string>> {
  const { O_CREAT, O_EXCL, O_RDWR } = constants;
  return {
    lstat: await errnoOf(agent.lstat(name)),
    open: await errnoOf(agent.open(name, O_RDWR)),
    create: await errnoOf(agent.open(name, O_CREAT | O_RDWR)),
    exclusive: await errnoOf(agent.open(name, O_CREAT | O_EXCL | O_RDWR)),
    mkdir: await errnoOf(agent.mkdir(name)),
    mkfifo: await errnoOf(agent.mkfifo(name)),
    symlink: await errnoOf(agent.symlink('target', name)),
    link: await errnoOf(agent.link('file', name)),
    'rename to': await errnoOf(agent.rename('file', name)),
    'rename from': await errnoOf(agent.rename(name, 'other')),
    unlink: await errnoOf(agent.unlink(name)),
    rmdir: await errnoOf(agent.rmdir(name)),
  };
}

/** A mount of a server with this answer to PATHCONF. */
async function limited(t: Test, nameMax: number | ErrorStatus, fails = false): Promise<EmbeddedMount> {
  const ground = await embeddedMount(t);
  const { server, source, place } = ground;
  const fault = fails
    ? { status: nameMax as ErrorStatus }
    : { alter: (result: Body) => ({ ...result, nameMax }) };
  server.faults.add({ procedure: 'PATHCONF', times: ALWAYS, ...fault });
  const mount = untilEnd(t, await Mount.start({ source, place }));
  return { ...ground, mount, agent: await mount.agent(), stats: () => statsOf(mount) };
}

t.test('a name longer than the server allows is ENAMETOOLONG', { timeout: 60_000 }, async (t) => {
  const ground = await limited(t, 64);
  const { agent, server } = ground;
  await agent.writeFile('file', 'x');
  // Servers answer one of these to a name that is too long for them.
  for (const status of [Status.ACCES, Status.IO, Status.NOENT, Status.INVAL, Status.NAMETOOLONG]) {
    const tooLong = (args: unknown): boolean => JSON.stringify(args).length > 64 * 4;
    const fault = server.faults.add({ times: ALWAYS, when: tooLong, status });
    for (const name of ['n'.repeat(65), 'ä'.repeat(33), 'n'.repeat(255), 'n'.repeat(256), 'n'.repeat(1000)]) {
      const outcomes = Object.entries(await nameAll(ground, name));
      const wrong = outcomes.filter(([, errno]) => errno !== 'ENAMETOOLONG');
      t.same(wrong, [], `${name.length} characters, where the server answers ${status}`);
    }
    fault.remove();
  }
  for (const name of ['n'.repeat(64), 'ä'.repeat(32)]) {
    await agent.writeFile(name, 'x');
    t.equal(await errnoOf(agent.lstat(name)), 'no error', 'bytes count, up to the limit itself');
  }
  t.equal((await agent.statvfs('.')).namemax, 64);
});

for (const [what, nameMax, fails] of [
  ['0', 0, false],
  ['1024', 1024, false],
  ['an error', Status.NOTSUPP, true],
] as const) {
  t.test(`where PATHCONF says ${what}, names of 255 bytes work`, { timeout: 60_000 }, async (t) => {
    const ground = await limited(t, nameMax, fails);
    const { agent } = ground;
    await agent.writeFile('file', 'x');
    await agent.writeFile('n'.repeat(255), 'x');
    t.equal(await errnoOf(agent.lstat('n'.repeat(255))), 'no error');
    const wrong = Object.entries(await nameAll(ground, 'n'.repeat(256)));
    t.same(
      wrong.filter(([, errno]) => errno !== 'ENAMETOOLONG'),
      [],
      'and longer names are ENAMETOOLONG',
    );
  });
}
