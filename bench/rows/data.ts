/** Rows that move data: streams and random access. */
import { join } from 'node:path';
import { runLoad } from '../load.js';
import type { Row, Session } from '../model.js';
import type { Sizes } from './sizes.js';

const FILE = 'stream';
const JOBS = 16;
/** The fraction of the reads that a random write row does: it also has to sync. */
const WRITE_SHARE = 0.5;

export function dataRows(sizes: Sizes, load: string): Row[] {
  const { streamBytes, blockBytes, randomFileBytes, randomOperations } = sizes;
  const mib = `${streamBytes >> 20} MiB`;
  const block = String(blockBytes);
  const fill = (bytes: number) => async (folder: string) => {
    await runLoad([load, 'write', join(folder, FILE), String(bytes), String(1 << 20)]);
  };
  const megabytes = { name: 'MiB', count: streamBytes >> 20 };
  const read = (session: Session) =>
    session.transfer
      ? session.transfer('read', FILE, streamBytes)
      : session.load('read', join(session.folder, FILE), block);
  const random = (direction: 'read' | 'write', operations: number) => (session: Session) =>
    session.load('random', direction, join(session.folder, FILE), String(JOBS), String(operations));
  // The files of the last run, to be removed again.
  const written = new WeakMap<Session, string>();
  return [
    {
      id: 'write',
      title: `sequential write ${mib}, 1 MiB blocks, fsync at the end`,
      unit: 'MiB/s',
      operation: megabytes,
      stream: true,
      cold: 'nothing',
      transfers: true,
      async run(session) {
        const name = session.freshName();
        written.set(session, name);
        return session.transfer
          ? session.transfer('write', name, streamBytes)
          : session.load('write', join(session.folder, name), String(streamBytes), block);
      },
      async after(session) {
        await session.load('time', 'rm', '-f', join(session.folder, written.get(session) ?? ''));
      },
    },
    {
      id: 'read-cold',
      title: `sequential read ${mib}, everything cold`,
      unit: 'MiB/s',
      operation: megabytes,
      stream: true,
      cold: 'all',
      transfers: true,
      prepare: fill(streamBytes),
      run: read,
    },
    {
      id: 'read-server-warm',
      title: `sequential read ${mib}, server warm, client cold`,
      unit: 'MiB/s',
      operation: megabytes,
      stream: true,
      cold: 'client',
      transfers: true,
      prepare: fill(streamBytes),
      run: read,
    },
    {
      id: 'read-again',
      title: `sequential read ${mib} again, unchanged file`,
      unit: 'MiB/s',
      operation: megabytes,
      stream: true,
      cold: 'nothing',
      prepare: fill(streamBytes),
      run: read,
    },
    {
      id: 'random-read',
      title: `random read 4 KiB, O_DIRECT, ${JOBS} jobs`,
      unit: '/s',
      cold: 'nothing',
      operation: { name: 'read', count: randomOperations },
      prepare: fill(randomFileBytes),
      run: random('read', randomOperations),
    },
    {
      id: 'random-write',
      title: `random write 4 KiB, O_DIRECT, ${JOBS} jobs, fsync at the end`,
      unit: '/s',
      cold: 'nothing',
      operation: { name: 'write', count: randomOperations * WRITE_SHARE },
      prepare: fill(randomFileBytes),
      run: random('write', randomOperations * WRITE_SHARE),
    },
  ];
}
