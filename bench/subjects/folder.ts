/** Peers that are just a folder: the local directory, and whatever --dir names. */
import { mkdirSync, mkdtempSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../../test/support/process.js';
import { registerFolder } from '../../test/support/registry.js';
import { dropCaches, settle } from '../cost.js';
import { runLoad } from '../load.js';
import type { Cold, Row, Session, Store, Subject } from '../model.js';
import { makeStore } from '../store.js';
import { freshName } from './names.js';

export class FolderPeer implements Subject {
  private constructor(
    readonly name: string,
    readonly description: string,
    readonly store: Store,
    private readonly load: string,
    private readonly forgetRegistered: () => void,
    /** Takes only rows that are made of changes. */
    private readonly changesOnly: boolean,
  ) {}

  /** Works in a new folder inside `path`; `synced`: every change in there is on the disk when the call returns. */
  static async make(
    name: string,
    description: string,
    path: string,
    load: string,
    primeFiles: number,
    synced = false,
  ): Promise<FolderPeer> {
    statfsSync(path);
    const scratch = mkdtempSync(join(path, 'nfs-fuse-bench-'));
    const forget = registerFolder(scratch);
    const own = join(scratch, 'store');
    mkdirSync(own);
    const store = await makeStore(own, load, primeFiles);
    // Data of files and names in folders, of all that will be made in there.
    if (synced) await mustRun(['chattr', '+S', '+D', own]);
    return new FolderPeer(name, description, store, load, forget, synced);
  }

  takes(row: Row): boolean {
    return !this.changesOnly || row.changes === true;
  }

  open(id: string): Promise<Session> {
    const { load, store } = this;
    const session: Session = {
      folder: join(store.path, id),
      load: (...argv) => runLoad([load, ...argv]),
      // A mount that somebody else has made cannot be made anew: the kernel's caches are dropped in either case.
      prepare: (cold: Cold) => (cold === 'nothing' ? Promise.resolve() : dropCaches(store.path)),
      settle: () => settle(store.path),
      processes: () => [],
      servers: () => [],
      freshName,
      close: () => Promise.resolve(),
    };
    return Promise.resolve(session);
  }

  async close(): Promise<void> {
    await mustRun(['rm', '-rf', join(this.store.path, '..')], { timeoutMs: 600_000 });
    this.forgetRegistered();
  }
}
