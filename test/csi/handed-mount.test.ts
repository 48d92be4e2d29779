/** One mount of the mounter, with programs that stand in for nfs-fuse: they cannot be started, fail, or never answer. */
import { openSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { HandedMount } from '../../lib/csi/mounter/handed-mount.js';
import { publicFolder } from '../support/folders.js';
import { untilEnd } from '../support/until-end.js';

const folder = untilEnd(t, publicFolder());

/** A mount whose descriptor says neither that it is mounted nor that it is over. */
function handed(program: readonly string[]): HandedMount {
  return new HandedMount({
    descriptor: openSync('/dev/null', 'r'),
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
