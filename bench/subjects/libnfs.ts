/** libnfs without FUSE, `nfs-cat` and `nfs-cp`: what a user-space client can stream at best. */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import type { Ganesha } from '../../test/support/ganesha.js';
import { mustRun, run } from '../../test/support/process.js';
import { registerFolder } from '../../test/support/registry.js';
import { dropCaches, settle } from '../cost.js';
import { runLoad } from '../load.js';
import type { Cold, LoadResult, Row, Session, Store, Subject } from '../model.js';
import { freshName } from './names.js';

export class LibNfs implements Subject {
  readonly name = 'libnfs';
  readonly description =
    "libnfs's nfs-cat and nfs-cp, no FUSE, from the same nfs-ganesha; a new process each time";
  readonly #memory = mkdtempSync('/dev/shm/nfs-fuse-bench-');
  readonly #forget = registerFolder(this.#memory);

  constructor(
    private readonly server: Ganesha,
    readonly store: Store,
    private readonly program: string,
  ) {}

  static async installed(): Promise<boolean> {
    return (await run(['sh', '-c', 'command -v nfs-cat && command -v nfs-cp'])).status === 0;
  }

  takes(row: Row): boolean {
    return row.transfers === true;
  }

  open(id: string): Promise<Session> {
    const { server, store, program } = this;
    const load = (...argv: readonly string[]) => runLoad([program, ...argv]);
    const url = (name: string) =>
      `nfs://${server.host}${server.exportPath}/${id}/${name}?nfsport=${server.port}&mountport=${server.mountPort}&version=3`;
    const transfer = async (
      direction: 'read' | 'write',
      name: string,
      bytes: number,
    ): Promise<LoadResult> => {
      if (direction === 'read') return { ...(await load('time', 'nfs-cat', url(name))), bytes };
      const source = join(this.#memory, 'source');
      await mustRun(['truncate', '-s', String(bytes), source]);
      return { ...(await load('time', 'nfs-cp', source, url(name))), bytes };
    };
    return Promise.resolve({
      folder: join(store.path, id),
      load,
      transfer,
      settle: () => settle(store.path),
      async prepare(cold: Cold) {
        if (cold !== 'all') return;
        await server.stop();
        await server.start();
        await dropCaches(store.path);
      },
      processes: () => [],
      servers: () => [],
      freshName,
      close: () => Promise.resolve(),
    });
  }

  async close(): Promise<void> {
    await mustRun(['rm', '-rf', this.#memory]);
    this.#forget();
  }
}
