/** libnfs without FUSE: `nfs-cat` and `nfs-cp` for streams, and bare calls for what comes down to them. */
import { mkdirSync, mkdtempSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import type { Ganesha } from '../../test/support/ganesha.js';
import { mustRun, run } from '../../test/support/process.js';
import { registerFolder } from '../../test/support/registry.js';
import { dropCaches, settle } from '../cost.js';
import type { Way } from '../distance/way.js';
import { compileCalls, runLoad } from '../load.js';
import type { Cold, LoadResult, Row, Session, Store, Subject } from '../model.js';
import { freshName } from './names.js';

/** Loads that calls.c has. */
const BARE: ReadonlySet<string> = new Set(['create', 'unlink']);

export class LibNfs implements Subject {
  readonly name = 'libnfs';
  readonly distant = true;
  readonly description =
    'libnfs, no FUSE, from the same nfs-ganesha: nfs-cat and nfs-cp, or the calls of a row one after the other (bench/calls.c); a new process each time';
  readonly #memory = mkdtempSync('/dev/shm/nfs-fuse-bench-');
  readonly #forget = registerFolder(this.#memory);

  private constructor(
    private readonly server: Ganesha,
    readonly store: Store,
    private readonly program: string,
    private readonly calls: string | undefined,
  ) {}

  /** `program`: load.c's, beside which calls.c's goes. */
  static async make(server: Ganesha, store: Store, program: string): Promise<LibNfs> {
    return new LibNfs(server, store, program, await compileCalls(dirname(program)));
  }

  static async installed(): Promise<boolean> {
    return (await run(['sh', '-c', 'command -v nfs-cat && command -v nfs-cp'])).status === 0;
  }

  takes(row: Row): boolean {
    return row.transfers === true || (row.bareCalls === true && this.calls !== undefined);
  }

  async open(id: string, way: Way): Promise<Session> {
    const { server, store, program, calls } = this;
    const port = await way.to(server.port);
    const load = (...argv: readonly string[]) => {
      const [name = '', folder = '', ...rest] = argv;
      if (calls === undefined || !BARE.has(name)) return runLoad([program, ...argv]);
      mkdirSync(folder, { recursive: true });
      const exported = join(server.exportPath, relative(store.path, folder));
      const ports = [port, server.mountPort].map(String);
      return runLoad([calls, server.host, ...ports, exported, name, ...rest]);
    };
    const url = (name: string) =>
      `nfs://${server.host}${server.exportPath}/${id}/${name}?nfsport=${port}&mountport=${server.mountPort}&version=3`;
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
    return {
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
    };
  }

  async close(): Promise<void> {
    await mustRun(['rm', '-rf', this.#memory]);
    this.#forget();
  }
}
