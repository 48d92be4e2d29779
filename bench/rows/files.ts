/** Rows of many small files in one folder: made, removed, looked at, opened. */
import { join } from 'node:path';
import { runLoad } from '../load.js';
import type { LoadResult, Row, Session } from '../model.js';
import { grouped, type Sizes } from './sizes.js';

const FOLDER = 'files';
const KIB = '1024';
const WARM_STAT_PASSES = 100;
const WARM_OPEN_PASSES = 5;

export function fileRows(sizes: Sizes, load: string): Row[] {
  const { createdFiles, statFiles, parallelFiles, hugeFolder } = sizes;
  const fill = (count: number, bytes: string) => async (folder: string) => {
    await runLoad([load, 'create', join(folder, FOLDER), String(count), bytes]);
  };
  /** Runs `name` on the row's folder. */
  const onFolder =
    (name: string, ...rest: (string | number)[]) =>
    (session: Session) =>
      session.load(name, join(session.folder, FOLDER), ...rest.map(String));
  const files = (count: number) => ({ name: 'file', count });
  // The files that `before` or a run has made, for the step that follows it.
  const made = new WeakMap<Session, string>();
  const create = async (session: Session): Promise<LoadResult> => {
    const folder = join(session.folder, session.freshName());
    made.set(session, folder);
    return session.load('create', folder, String(createdFiles), KIB);
  };
  const removeMade = async (session: Session) => {
    const folder = made.get(session);
    if (folder !== undefined) await session.load('time', 'rm', '-rf', folder);
  };
  const parallel = (readers: number): Row => ({
    id: `parallel-${readers}`,
    title: `open, read 4 KiB, close, ${grouped(parallelFiles)} files, ${readers} readers, client cold`,
    unit: '/s',
    cold: 'client',
    operation: files(parallelFiles),
    prepare: fill(parallelFiles, '4096'),
    run: onFolder('parallel', parallelFiles, readers),
  });
  return [
    {
      id: 'create',
      title: `create, write 1 KiB, close, ${grouped(createdFiles)} files`,
      unit: '/s',
      cold: 'nothing',
      operation: files(createdFiles),
      bareCalls: true,
      changes: true,
      run: create,
      after: removeMade,
    },
    {
      id: 'unlink',
      title: `unlink ${grouped(createdFiles)} files`,
      unit: '/s',
      cold: 'nothing',
      operation: files(createdFiles),
      bareCalls: true,
      changes: true,
      before: async (session) => void (await create(session)),
      run: (session) => session.load('unlink', made.get(session) ?? '', String(createdFiles)),
      after: removeMade,
    },
    {
      id: 'stat-cold',
      title: `stat ${grouped(statFiles)} files, cold`,
      unit: '/s',
      cold: 'all',
      operation: files(statFiles),
      prepare: fill(statFiles, KIB),
      run: onFolder('stat', statFiles, 0, 1),
    },
    {
      id: 'stat-warm',
      title: `stat ${grouped(statFiles)} files, warm`,
      unit: '/s',
      cold: 'nothing',
      operation: { name: 'stat', count: statFiles * WARM_STAT_PASSES },
      prepare: fill(statFiles, KIB),
      run: onFolder('stat', statFiles, 1, WARM_STAT_PASSES),
    },
    {
      id: 'open-cold',
      title: `open, read, close, ${grouped(statFiles)} files, cold`,
      unit: '/s',
      cold: 'all',
      operation: files(statFiles),
      prepare: fill(statFiles, KIB),
      run: onFolder('open', statFiles, 0, 1),
    },
    {
      id: 'open-warm',
      title: `open, read, close, ${grouped(statFiles)} files, warm`,
      unit: '/s',
      cold: 'nothing',
      operation: files(statFiles * WARM_OPEN_PASSES),
      prepare: fill(statFiles, KIB),
      run: onFolder('open', statFiles, 1, WARM_OPEN_PASSES),
    },
    parallel(8),
    parallel(64),
    {
      id: 'huge-names',
      title: `ls -f a folder of ${grouped(hugeFolder)} entries, cold`,
      unit: 's',
      cold: 'all',
      operation: { name: 'entry', count: hugeFolder },
      prepare: fill(hugeFolder, '0'),
      run: (session) => session.load('time', 'ls', '-f', join(session.folder, FOLDER)),
    },
    {
      id: 'huge-attributes',
      title: `ls -l a folder of ${grouped(hugeFolder)} entries, cold`,
      unit: 's',
      cold: 'all',
      operation: { name: 'entry', count: hugeFolder },
      prepare: fill(hugeFolder, '0'),
      run: (session) => session.load('time', 'ls', '-lU', join(session.folder, FOLDER)),
    },
  ];
}
