/** Files that one client unpacks or copies are complete for another one as soon as the program has closed them. */
import { chmodSync, chownSync, lutimesSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { type Client, twoMounts } from '../support/two-mounts.js';

const FILES = 40;
const LIST = ['find', '.', '-type', 'f', '-printf', '%P %m %U %G %s %T@\\n'];

/** Makes a file as tar(1) does, and says how each step and each look at it came out. */
const MAKE = `
import os, stat, sys
name, look = sys.argv[1:]
fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
def say():
    if look == 'look':
        st = os.fstat(fd)
        print(oct(stat.S_IMODE(st.st_mode)), st.st_uid, st.st_gid, st.st_size, st.st_mtime if st.st_mtime < 1e9 else 'now')
say()
os.write(fd, b'x' * 3000)
say()
os.utime(fd, (1e6, 2e6))
say()
os.fchown(fd, 11, 12)
say()
os.fchmod(fd, 0o4755)
say()
os.fchmod(fd, 0o640)
say()
os.close(fd)
`;

async function sorted({ mount }: Client, folder: string): Promise<string[]> {
  const listed = await mount.mustRun(['sh', '-c', `cd ${folder} && "$@"`, 'sh', ...LIST]);
  return listed.split('\n').sort();
}

for (const kind of ['ganesha', 'embedded'] as const)
  for (const options of [[], ['allow_other'], ['noattrbehind']])
    t.test(
      `${kind} ${options.join()}: another client sees modes, owners and times as they were unpacked`,
      async (t) => {
        const { place, a, b } = await twoMounts(t, kind, options);
        const source = `${place.folder}/source`;
        mkdirSync(`${source}/tree`, { recursive: true });
        for (let i = 0; i < FILES; i++) {
          const file = `${source}/tree/file${i}`;
          writeFileSync(file, 'x'.repeat(i * i * 50));
          chownSync(file, 1000 + (i % 3), 2000 + (i % 2));
          chmodSync(file, [0o600, 0o444, 0o755, 0o4711][i % 4] ?? 0);
          utimesSync(file, 1e9 + i, 1e9 + i / 8);
        }
        lutimesSync(`${source}/tree`, 1e9, 1e9);
        const here = await a.mount.mustRun(['sh', '-c', `cd ${source}/tree && "$@"`, 'sh', ...LIST]);
        const wanted = here.split('\n').sort();
        await a.mount.mustRun(['tar', '--format=posix', '-cf', `${source}/archive`, '-C', source, 'tree']);
        await a.mount.mustRun(['mkdir', 'one', 'two']);
        await a.mount.mustRun(['tar', '-xpf', `${source}/archive`, '-C', 'one']);
        t.same(await sorted(b, 'one/tree'), wanted);
        t.same(await sorted(a, 'one/tree'), wanted);
        await a.mount.mustRun(['cp', '-rp', `${source}/tree`, 'two']);
        t.same(await sorted(b, 'two/tree'), wanted, 'copied');
        const steps = await a.mount.mustRun(['python3', '-c', MAKE, 'looked', 'look']);
        t.same(steps.trim().split('\n'), [
          '0o600 0 0 0 now',
          '0o600 0 0 3000 now',
          '0o600 0 0 3000 2000000.0',
          '0o600 11 12 3000 2000000.0',
          '0o4755 11 12 3000 2000000.0',
          '0o640 11 12 3000 2000000.0',
        ]);
        await a.mount.mustRun(['python3', '-c', MAKE, 'unseen', 'do not']);
        for (const name of ['looked', 'unseen'])
          t.match(
            await b.fs.stat(name),
            { mode: 0o100640, uid: 11, gid: 12, mtimeNs: 2_000_000_000_000_000n },
            name,
          );
      },
    );
