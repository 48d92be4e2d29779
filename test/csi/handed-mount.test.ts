/** One mount of the mounter, with programs that stand in for nfs-fuse: they cannot be started, fail, or never answer. */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HandedMount } from '../../lib/csi/mounter/handed-mount.js';
import { publicFolder } from '../support/folders.js';
import { mustRun } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const folder = untilEnd(t, publicFolder());

/** A descriptor of which poll(2) says the same as of a mount that is over: a pipe that nobody reads. */
async function overDescriptor(): Promise<number> {
  const path = join(folder.path, 'pipe');
  await mustRun(['mkfifo', path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(path, constants.O_WRONLY);
  closeSync(reader);
  return writer;
}

/** The usual descriptor says neither that it is mounted nor that it is over. */
function handed(program: readonly string[], descriptor = openSync('/dev/null', 'r')): HandedMount {
  return new HandedMount({
    descriptor,
    place: '/place',
    target: 'server:/export',
    options: ['ro'],
    stateFile: join(folder.path, 'state'),
    program,
    tell: () => {},
  });
}

t.test('a program that cannot be started fails its own mount, and nothing else', async (t) => {
  // Node tells of the first later, and throws for the second.
  for (const program of ['/nowhere/nfs-fuse', '/bin/true\0']) {
    const mount = handed([program]);
    await t.rejects(mount.answers, { message: /nfs-fuse cannot be started/ });
    t.equal(await mount.ended, undefined);
  }
});

t.test('a program that ends before it answers fails the mount in its own words', async (t) => {
  const mount = handed(['sh', '-c', 'echo "nfs-fuse: The server is away." >&2; exit 1']);
  await t.rejects(mount.answers, { message: 'The server is away.' });
  t.equal(await mount.ended, undefined);
  const silent = handed(['false']);
  await t.rejects(silent.answers, { message: /ended without a word/ });
});

t.test('words on standard error are no answer, whatever they say', async (t) => {
  const line = 'nfs-fuse: server:/export is mounted on /dev/fd/3.';
  const mount = handed(['sh', '-c', `echo "${line}" >&2; exit 1`]);
  await t.rejects(mount.answers, { message: 'server:/export is mounted on /dev/fd/3.', kind: 'other' });
});

t.test(
  'a program reports that it answers, or of which kind its failure is, apart from its words',
  async (t) => {
    const reports = (what: string, descriptor?: number) =>
      handed(
        ['sh', '-c', `echo '${what}' >&"$NFS_FUSE_STARTER"; echo "nfs-fuse: Words." >&2; exit 1`],
        descriptor,
      );
    const ready = reports('{"ready":true}', await overDescriptor());
    await ready.answers;
    t.match(await ready.ended, /The mount on \/place has ended with an error: Words\./);
    const missing = reports('{"failed":"missing"}');
    await t.rejects(missing.answers, { message: 'Words.', kind: 'missing' });
    for (const odd of ['{"failed":"odd"}', '{"ready":1}', 'null', 'odd'])
      await t.rejects(reports(odd).answers, { message: 'Words.', kind: 'other' });
  },
);

t.test('a program on which nobody waits any more is asked to end', async (t) => {
  const mount = handed(['sh', '-c', 'echo begins >&2; exec sleep infinity']);
  mount.abandon();
  await t.rejects(mount.answers);
  t.equal(await mount.ended, undefined);
  t.ok(mount.isOver);
});

t.test('where the kernel does not tell the number of a mount, nobody is sure of its data', async (t) => {
  const mount = handed(['sleep', 'infinity']);
  t.same(await mount.writeBack(), { losses: [], isCertain: false });
  mount.abandon();
  await mount.ended;
});
