/** Puts the client's shared state over a connected export: caches, budgets, counters. */

import { type Clock, systemClock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { RpcCaller } from '../rpc/client/rpc-caller.js';
import { InodeTable } from './cache/inode-table.js';
import { identityFor } from './caller/own-identity.js';
import { type ClientConfig, DEFAULT_CONFIG } from './config.js';
import { VfsCounters } from './counters.js';
import { ByteBudget } from './data/byte-budget.js';
import { MemoryReturn } from './kernel/memory-return.js';
import type { ExportSession } from './remote/export-session.js';
import { NfsClient } from './remote/nfs-client.js';
import { VfsState } from './vfs-state.js';

/** The properties of a connected export that the client needs. */
export type ConnectedExport = Pick<
  ExportSession,
  'machineName' | 'limits' | 'rootHandle' | 'rootAttributes' | 'generation' | 'findRoot' | 'close'
> & { readonly rpc: RpcCaller };

export interface ExportDependencies {
  readonly log: Logger;
  readonly clock?: Clock | undefined;
  /** Has the engine give unused memory back; called when that is worth it. */
  readonly collectGarbage?: (() => void) | undefined;
}

export function openExport(
  session: ConnectedExport,
  config: ClientConfig,
  dependencies: ExportDependencies,
): VfsState {
  const { log, clock = systemClock, collectGarbage } = dependencies;
  const counters = new VfsCounters();
  const inodes = new InodeTable(session.rootHandle);
  const vfs = new VfsState({
    config,
    identity: identityFor(config.identity),
    limits: session.limits,
    nfs: new NfsClient(session.rpc, clock, counters),
    inodes,
    rootFinder: session,
    clock,
    log,
    counters,
    generation: session.generation,
    memoryReturn: collectGarbage && new MemoryReturn(clock, collectGarbage, () => inodes.size),
    readBudget: new ByteBudget(config.readAhead),
    writeBudget: new ByteBudget(
      // Even what is not written behind is kept until a COMMIT vouches for it.
      config.writeBehind > 0 ? config.writeBehind : DEFAULT_CONFIG.writeBehind,
    ),
  });
  vfs.adoptRoot(session.rootAttributes, vfs.attributes.start());
  return vfs;
}
