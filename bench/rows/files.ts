/** Rows of many small files in one folder: made, removed, looked at, opened. */
import { join } from 'node:path';
import { runLoad } from '../load.js';
import type { LoadResult, Row, Session } from '../model.js';
import { grouped, perSecond, type Sizes } from './sizes.js';

const FOLDER = 'files';
const KIB = '1024';
const WARM_STAT_PASSES = '100';
const WARM_OPEN_PASSES = '5';

export function fileRows(sizes: Sizes, load: string): Row[] {
  const { createdFiles, statFiles, parallelFiles, hugeFolder } = sizes;
  const fill = (count: number, bytes: string) => async (folder: string) => {
    await runLoad([load, 'create', join(folder, FOLDER), String(count), bytes]);
  };
  /** Runs `name` on the row's folder. */
  const rate =
    (name: string, ...rest: (string | number)[]) =>
    async (session: Session) =>
      perSecond(await session.load(name, join(session.folder, FOLDER), ...rest.map(String)));
  // What `before` or a run has made, for the step that follows it.
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
    prepare: fill(parallelFiles, '4096'),
    run: rate('parallel', parallelFiles, readers),
  });
  return [
    {
      id: 'create',
      title: `create, write 1 KiB, close, ${grouped(createdFiles)} files`,
      unit: '/s',
      cold: 'nothing',
      target: { ours: 1900, local: 16_000 },
      run: async (session) => perSecond(await create(session)),
      after: removeMade,
    },
    {
      id: 'unlink',
      title: `unlink ${grouped(createdFiles)} files`,
      unit: '/s',
      cold: 'nothing',
      target: { ours: 6000, local: 40_000 },
      before: async (session) => void (await create(session)),
      run: async (session) =>
        perSecond(await session.load('unlink', made.get(session) ?? '', String(createdFiles))),
      after: removeMade,
    },
    {
      id: 'stat-cold',
      title: `stat ${grouped(statFiles)} files, cold`,
      unit: '/s',
      cold: 'all',
      target: { ours: 13_000, local: 110_000 },
      prepare: fill(statFiles, KIB),
      run: rate('stat', statFiles, 0, 1),
    },
    {
      id: 'stat-warm',
      title: `stat ${grouped(statFiles)} files, warm`,
      unit: '/s',
      cold: 'nothing',
      target: { ours: 500_000, local: 592_000 },
      prepare: fill(statFiles, KIB),
      run: rate('stat', statFiles, 1, WARM_STAT_PASSES),
    },
    {
      id: 'open-warm',
      title: `open, read, close, ${grouped(statFiles)} files, warm`,
      unit: '/s',
      cold: 'nothing',
      target: { ours: 8000, local: 323_000 },
      prepare: fill(statFiles, KIB),
      run: rate('open', statFiles, 1, WARM_OPEN_PASSES),
    },
    parallel(8),
    parallel(64),
    {
      id: 'huge-names',
      title: `list a folder of ${grouped(hugeFolder)} entries, names only, cold`,
      unit: 's',
      cold: 'all',
      prepare: fill(hugeFolder, '0'),
      run: async (session) => (await session.load('names', join(session.folder, FOLDER))).seconds,
    },
    {
      id: 'huge-attributes',
      title: `ls -l a folder of ${grouped(hugeFolder)} entries, cold`,
      unit: 's',
      cold: 'all',
      prepare: fill(hugeFolder, '0'),
      run: async (session) => (await session.load('time', 'ls', '-lU', join(session.folder, FOLDER))).seconds,
    },
  ];
}
