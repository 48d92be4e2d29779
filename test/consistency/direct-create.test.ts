/** Names that are made without being looked up first: programs get the same errors, and nobody misses a name that is there. */
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { statsOf } from '../support/embedded-mount.js';
import { mustRun } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { type Client, twoMounts } from '../support/two-mounts.js';

const NAMES = 90;

/** How many lookups a mount has spared. */
const spared = async ({ mount }: Client): Promise<number> => (await statsOf(mount)).caches.lookupsSpared;

for (const kind of ['ganesha', 'embedded'] as const) {
  t.test(`every call, with every shape of path, answers as in a local folder, ${kind}`, async (t) => {
    const { place, a, b } = await twoMounts(t, kind, ['directcreate']);
    const local = join(place.folder, 'local');
    mkdirSync(local);
    const script = join(place.folder, 'exclusive-acts.py');
    copyFileSync(join(projectRoot, 'test/consistency/exclusive-acts.py'), script);
    await mustRun([python, script, 'build'], { cwd: local });
    const expected = (await mustRun([python, script, 'act'], { cwd: local })).split('\n');
    // Whatever b makes, it has never asked for before.
    await a.mount.mustRun(['env', `TOP=${b.mount.path}`, python, script, 'build']);
    const seen = (await b.mount.mustRun([python, script, 'act'])).split('\n');
    t.ok(expected.length > 600);
    t.equal(seen.length, expected.length);
    t.same(
      seen.filter((line, index) => line !== expected[index]),
      [],
    );
    t.ok((await spared(b)) > 100, 'where it is certain');
  });

  t.test(`names that are there are never missing while others try to make them, ${kind}`, async (t) => {
    const { place, a, b } = await twoMounts(t, kind, ['directcreate']);
    const script = join(place.folder, 'exclusive-acts.py');
    copyFileSync(join(projectRoot, 'test/consistency/exclusive-acts.py'), script);
    for (let i = 0; i < NAMES; i++)
      if (i % 3 === 0) await a.fs.mkdir(`n${i}`);
      else if (i % 3 === 1) await a.fs.symlink('nowhere', `n${i}`);
      else await a.fs.writeFile(`n${i}`, 'x');
    const lying = b.mount.mustRun([python, script, 'lie', '1000']);
    t.equal(await b.mount.mustRun([python, script, 'watch', String(NAMES)]), '\n');
    await lying;
    t.ok((await spared(b)) > 0);
  });
}

t.test('a name that another client has made is told as such, and is seen at once', async (t) => {
  const { a, b } = await twoMounts(t, 'ganesha', ['directcreate']);
  const makes = [
    async () => void (await a.fs.writeFile('file', 'x')),
    async () => void (await a.fs.mkdir('directory')),
    async () => void (await a.fs.symlink('nowhere', 'dangling')),
  ];
  await b.fs.stat('.');
  for (const [index, name] of ['file', 'directory', 'dangling'].entries()) {
    await makes[index]?.();
    await t.rejects(b.fs.mkdir(name), { code: 'EEXIST' });
    t.ok(await b.fs.lstat(name));
  }
  t.ok((await spared(b)) >= 3);
});

t.test('what is mounted on a name stays mounted when somebody tries to make the name', async (t) => {
  const { a, b } = await twoMounts(t, 'embedded', ['directcreate']);
  await a.fs.mkdir('folder');
  await a.fs.writeFile('file', 'x');
  const commands = [
    'mount --make-rprivate /',
    'mount -t tmpfs tmpfs folder && touch folder/inside',
    'mount --bind /etc/hostname file',
    'for i in 1 2 3; do ! mkdir folder 2>&1 || exit 1; ! ln -s x file 2>&1 || exit 1; done',
    'test -e folder/inside && cmp file /etc/hostname && umount folder file && echo both',
  ];
  const outcome = await b.mount.mustRun(['unshare', '-m', 'sh', '-ec', commands.join('\n')]);
  t.match(outcome, /File exists[\s\S]*both/);
});
