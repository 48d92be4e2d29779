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

export interface FolderPeerOptions {
  readonly name: string;
  readonly description: string;
  /** The peer works in a new folder in there. */
  readonly path: string;
  readonly load: string;
  readonly primeFiles: number;
  /** Every change in there is on the disk when the call returns. */
  readonly synced?: boolean;
}

export class FolderPeer implements Subject {
  readonly name: string;
  readonly description: string;
  readonly store: Store;
  readonly #load: string;
  /** Takes only rows that are made of changes. */
  readonly #changesOnly: boolean;
  readonly #forgetRegistered: () => void;

  private constructor(
    { name, description, load, synced = false }: FolderPeerOptions,
    store: Store,
    forgetRegistered: () => void,
  ) {
    this.name = name;
    this.description = description;
    this.store = store;
    this.#load = load;
    this.#changesOnly = synced;
    this.#forgetRegistered = forgetRegistered;
  }

  static async make(options: FolderPeerOptions): Promise<FolderPeer> {
    const { path, load, primeFiles, synced } = options;
    statfsSync(path);
    const scratch = mkdtempSync(join(path, 'nfs-fuse-bench-'));
    const forget = registerFolder(scratch);
    const own = join(scratch, 'store');
    mkdirSync(own);
    const store = await makeStore(own, load, primeFiles);
    // Data of files and names in folders, of all that will be made in there.
    if (synced) await mustRun(['chattr', '+S', '+D', own]);
    return new FolderPeer(options, store, forget);
  }

  takes(row: Row): boolean {
    return !this.#changesOnly || row.changes === true;
  }

  open(id: string): Promise<Session> {
    const { store } = this;
    const load = this.#load;
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
    this.#forgetRegistered();
  }
}
