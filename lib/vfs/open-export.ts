/** Puts the client's shared state over a connected export: caches, budgets, counters. */
import type { RpcCaller } from '../rpc/caller.js';
import { type Clock, systemClock } from '../rpc/clock.js';
import { ByteBudget } from './byte-budget.js';
import type { ClientConfig, Logger } from './config.js';
import { VfsCounters } from './counters.js';
import type { ExportSession } from './export-session.js';
import { InodeTable } from './inode-table.js';
import { NfsClient } from './nfs-client.js';
import { VfsState } from './vfs-state.js';

/** What is read ahead, and what is written behind, for all files of a mount together. */
const READ_BUDGET = 64 * 1024 * 1024;
const WRITE_BUDGET = 128 * 1024 * 1024;

/** What the client needs of a connected export. */
export type ConnectedExport = Pick<
  ExportSession,
  'machineName' | 'limits' | 'rootHandle' | 'rootAttributes' | 'generation' | 'findRoot' | 'close'
> & { readonly rpc: RpcCaller };

export interface ExportDependencies {
  readonly log: Logger;
  readonly clock?: Clock | undefined;
}

export function openExport(
  session: ConnectedExport,
  config: ClientConfig,
  dependencies: ExportDependencies,
): VfsState {
  const { log, clock = systemClock } = dependencies;
  const counters = new VfsCounters();
  const vfs = new VfsState({
    config,
    limits: session.limits,
    nfs: new NfsClient(session.rpc, clock, counters),
    inodes: new InodeTable(session.rootHandle),
    rootFinder: session,
    clock,
    log,
    counters,
    generation: session.generation,
    readBudget: new ByteBudget(READ_BUDGET),
    writeBudget: new ByteBudget(WRITE_BUDGET),
  });
  vfs.adoptRoot(session.rootAttributes, vfs.attributes.start());
  return vfs;
}
