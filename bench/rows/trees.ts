/** Rows that walk, make and remove trees, as ls, find, tar, rm, git and npm do it. */
import { join } from 'node:path';
import { mustRun } from '../../test/support/process.js';
import { runLoad } from '../load.js';
import type { Row, Session } from '../model.js';
import { grouped, type Sizes } from './sizes.js';

const TREE = 'tree';
const ARCHIVE = 'tree.tar';

/** No configuration of the user's or the machine's; the folder may belong to somebody else. */
const GIT = ['git', '-c', 'safe.directory=*', '-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];

export function treeRows(sizes: Sizes, load: string): Row[] {
  const { treeFiles, treeFolders, archiveFiles, repositoryFiles, packages } = sizes;
  const plant = async (folder: string, folders: number, files: number, mean: number, links: number) => {
    const counts = [folders, files, mean, links].map(String);
    await runLoad([load, 'tree', join(folder, TREE), ...counts]);
  };
  const plantWide = (folder: string) => plant(folder, treeFolders, treeFiles, 100, 0);
  const plantSources = (folder: string) =>
    plant(folder, Math.ceil(archiveFiles / 20), archiveFiles, 4096, Math.ceil(archiveFiles / 20));
  const plantArchive = async (folder: string) => {
    await plantSources(folder);
    await mustRun(['tar', '--sort=name', '-cf', join(folder, ARCHIVE), '-C', folder, TREE]);
  };
  const plantRepository = async (folder: string) => {
    await plant(folder, Math.ceil(repositoryFiles / 25), repositoryFiles, 2048, 0);
    // Older than the index: git reads files again that are as young as what it knows of them.
    const touch = ['-exec', 'touch', '-d', '1 hour ago', '{}', '+'];
    await mustRun(['find', join(folder, TREE), '-type', 'f', ...touch]);
    const git = (...args: string[]) => mustRun([...GIT, '-C', join(folder, TREE), ...args]);
    await git('init', '-q');
    // The index then holds nothing that changes with the way the folder is reached: device, inode, owner.
    await git('config', 'core.checkStat', 'minimal');
    await git('config', 'core.trustctime', 'false');
    await git('add', '-A');
    await git('commit', '-q', '-m', 'tree');
  };
  const onTree =
    (...argv: readonly string[]) =>
    (session: Session) =>
      session.load('time', ...argv, join(session.folder, TREE));
  const shell = (session: Session, script: string, ...args: readonly string[]) =>
    session.load('time', 'sh', '-ec', script, 'sh', ...args);
  const made = new WeakMap<Session, string>();
  /** Extracts the archive into a new folder. Read before it is timed, so that reading it costs nothing. */
  const extract = async (session: Session) => {
    const folder = join(session.folder, session.freshName());
    made.set(session, folder);
    await session.load('time', 'mkdir', folder);
    const archive = join(session.folder, ARCHIVE);
    await session.load('time', 'cat', archive);
    return session.load('time', 'tar', '-xf', archive, '-C', folder);
  };
  const removeMade = (session: Session) => session.load('time', 'rm', '-rf', made.get(session) ?? '');
  const status = (session: Session) =>
    session.load('time', ...GIT, '-C', join(session.folder, TREE), 'status', '--porcelain');
  const files = (count: number) => ({ name: 'file', count });
  const wide = grouped(treeFiles);
  const sources = grouped(archiveFiles);
  const repository = grouped(repositoryFiles);
  return [
    {
      id: 'ls-cold',
      title: `ls -lR, ${wide} files, cold`,
      unit: 's',
      cold: 'all',
      operation: files(treeFiles),
      prepare: plantWide,
      run: onTree('ls', '-lR'),
    },
    {
      id: 'ls-warm',
      title: `ls -lR, ${wide} files, warm`,
      unit: 's',
      cold: 'nothing',
      operation: files(treeFiles),
      prepare: plantWide,
      // Attributes that are trusted for seconds get old while the other subjects have their turns.
      before: async (session) => void (await onTree('ls', '-lR')(session)),
      run: onTree('ls', '-lR'),
    },
    {
      id: 'find-cold',
      title: `find by name only, ${wide} files, cold`,
      unit: 's',
      cold: 'all',
      operation: files(treeFiles),
      prepare: plantWide,
      run: (session) => session.load('time', 'find', join(session.folder, TREE), '-name', '*7'),
    },
    {
      id: 'untar',
      title: `untar ${sources} files`,
      unit: 's',
      cold: 'nothing',
      operation: files(archiveFiles),
      changes: true,
      prepare: plantArchive,
      run: extract,
      after: async (session) => void (await removeMade(session)),
    },
    {
      id: 'tar-cold',
      title: `tar c of ${sources} files, cold`,
      unit: 's',
      cold: 'all',
      operation: files(archiveFiles),
      prepare: plantSources,
      // Into a pipe: tar does not read what it would write to /dev/null.
      run: (session) => shell(session, 'tar -cf - -C "$1" "$2" | cat', session.folder, TREE),
    },
    {
      id: 'rm',
      title: `rm -rf of ${sources} files`,
      unit: 's',
      cold: 'nothing',
      operation: files(archiveFiles),
      changes: true,
      prepare: plantArchive,
      before: async (session) => void (await extract(session)),
      run: removeMade,
    },
    {
      id: 'git-status-cold',
      title: `git status, ${repository} files, cold`,
      unit: 's',
      cold: 'all',
      operation: files(repositoryFiles),
      prepare: plantRepository,
      run: status,
    },
    {
      id: 'git-status-warm',
      title: `git status, ${repository} files, warm`,
      unit: 's',
      cold: 'nothing',
      operation: files(repositoryFiles),
      prepare: plantRepository,
      before: async (session) => void (await status(session)),
      run: status,
    },
    {
      id: 'install',
      title: `install, replace and read ${grouped(packages)} packages, as npm does`,
      unit: 's',
      cold: 'nothing',
      operation: { name: 'package', count: packages },
      changes: true,
      async run(session) {
        const folder = join(session.folder, session.freshName());
        made.set(session, folder);
        return session.load('churn', folder, String(packages));
      },
      after: async (session) => void (await removeMade(session)),
    },
  ];
}
