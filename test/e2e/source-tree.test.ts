/** Everyday work: a source tree is unpacked, compared, kept in git, built, and removed. */
import { readdirSync } from 'node:fs';
import t from 'tap';
import { packSourceTree } from '../support/source-tree.js';
import { untilEnd } from '../support/until-end.js';
import { EVERYWHERE, overVariants, type Variant } from '../support/variants.js';

const tree = untilEnd(t, await packSourceTree());

/** The same tree beside the mount, on the machine's own file system. */
async function unpackBeside({ mount }: Variant): Promise<string> {
  const beside = `${mount.place.folder}/reference`;
  await mount.mustRun(['mkdir', beside]);
  await mount.mustRun(['tar', '-xpf', tree.archive, '-C', beside]);
  return beside;
}

/** git without the machine's or a user's configuration. */
function git(...args: string[]): string[] {
  const identity = ['-c', 'user.name=Tester', '-c', 'user.email=tester@localhost', '-c', 'gc.auto=0'];
  return ['env', 'GIT_CONFIG_NOSYSTEM=1', 'GIT_CONFIG_GLOBAL=/dev/null', 'git', ...identity, ...args];
}

const MAKEFILE = `
all: output lib.a
output: hello
	./hello > $@
hello: main.o greet.o
	gcc -o $@ $^
lib.a: greet.o
	ar rcs $@ $^
%.o: %.c greet.h
	gcc -O1 -c -o $@ $<
clean:
	rm -f *.o hello lib.a output
.PHONY: all clean
`;

const BUILD = `
set -eu
mkdir project && cd project
cat > Makefile
printf 'const char *greeting(void);\\n' > greet.h
printf '#include "greet.h"\\nconst char *greeting(void) { return "built on NFS"; }\\n' > greet.c
printf '#include <stdio.h>\\n#include "greet.h"\\nint main(void) { return puts(greeting()) < 0; }\\n' > main.c
make -s -j2
make -q || { echo "make would build again" >&2; exit 1; }
cat output
make -s clean
ls
`;

overVariants(t, { ...EVERYWHERE, timeoutMs: 600_000 }, async (t, variant) => {
  const { mount, server } = variant;
  t.ok(tree.files >= 2000, `the tree has ${tree.files} files`);

  await t.test('tar unpacks it, diff and rsync find no difference', async (t) => {
    const beside = await unpackBeside(variant);
    await mount.mustRun(['mkdir', 'tree']);
    await mount.mustRun(['tar', '-xpf', tree.archive, '-C', 'tree']);
    t.equal(await mount.mustRun(['diff', '-r', '--no-dereference', beside, 'tree']), '', 'diff -r');
    // nfs-ganesha 4.3 does not set a symlink's times (and says that it did).
    const links = variant.serverName === 'ganesha' ? ['--omit-link-times'] : [];
    const rsync = ['rsync', '-aH', ...links, '--dry-run', '--itemize-changes', '--delete'];
    t.equal(await mount.mustRun([...rsync, `${beside}/`, 'tree/']), '', 'rsync, by size and time');
    t.equal(await mount.mustRun([...rsync, 'tree/', `${beside}/`]), '', 'rsync, the other way round');
    const script = await mount.mustRun(['tree/odd/script']);
    t.equal(script, 'it runs\n', 'a script runs from the mount');
  });

  await t.test('git keeps it', async (t) => {
    await mount.mustRun(git('-C', 'tree', 'init', '-q'));
    await mount.mustRun(git('-C', 'tree', 'add', '-A', '-f'));
    await mount.mustRun(git('-C', 'tree', 'commit', '-q', '-m', 'everything'));
    t.equal(await mount.mustRun(git('-C', 'tree', 'status', '--porcelain', '--ignored')), '', 'clean');
    const tracked = (await mount.mustRun(git('-C', 'tree', 'ls-files'))).trimEnd().split('\n').length;
    t.ok(tracked >= tree.files, `${tracked} files are kept`);
    await mount.mustRun(git('-C', 'tree', 'gc', '-q', '--prune=now'));
    const fsck = await mount.run(git('-C', 'tree', 'fsck', '--full', '--strict', '--no-progress'));
    t.equal(fsck.status, 0, 'fsck succeeds');
    t.equal(`${fsck.stdout}${fsck.stderr}`, '', 'and has nothing to say');
    t.equal(await mount.mustRun(git('-C', 'tree', 'status', '--porcelain')), '', 'clean after gc');
    await mount.mustRun(git('clone', '-q', '--no-hardlinks', 'tree', 'clone'));
    // git keeps no empty folders.
    const ignored = ['.git', 'empty', 'private', 'sticky'].flatMap((name) => ['-x', name]);
    const diff = ['diff', '-r', '--no-dereference', ...ignored, 'tree', 'clone'];
    t.equal(await mount.mustRun(diff), '', 'a clone is the same');
  });

  await t.test('make builds everything once, and rebuilds nothing', async (t) => {
    const output = await mount.mustRun(['sh', '-c', BUILD], { input: MAKEFILE });
    t.equal(output, 'built on NFS\nMakefile\ngreet.c\ngreet.h\nmain.c\n');
  });

  await t.test('rm -rf leaves nothing', async (t) => {
    await mount.mustRun(['rm', '-rf', 'tree', 'clone', 'project']);
    t.equal(await mount.mustRun(['ls', '-A']), '', 'through the mount');
    t.same(readdirSync(server.directory), [], "on the server's disk");
  });
});
