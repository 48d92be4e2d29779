/** The kernel goes by what the process before has told it, and is to go by it no longer. */
import type { Clock } from '../../base/clock.js';
import type { FuseNotifier, KnownEntry, NodeId } from '../../fuse/contract/operations.js';
import { fileNameToBytes } from '../../programs/nfs3/index.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { Handover } from './handover.js';

/** Names that are on their way to the kernel at a time: notifications of changes are not to wait behind a million of them. */
const NAMES_AT_A_TIME = 64;

export interface DoubtNeeds {
  readonly records: Handover | undefined;
  readonly inodes: InodeTable;
  readonly clock: Clock;
  /** For how long attributes and names may be trusted. */
  readonly config: { readonly acRegMaxMs: number; readonly acDirMaxMs: number };
}

/**
 * After a takeover the kernel asks again for all that it believes of names, and drops what it has of open files. Inodes that
 * this process has told it of are left alone. Ends when the kernel trusts no name any more that it was told before. Never
 * rejects.
 */
export async function letKernelAsk(
  notifier: FuseNotifier,
  { inodes, clock, config, records }: DoubtNeeds,
): Promise<void> {
  if (!records?.isTakeover) return;
  const { firstNodeid } = records.counters;
  const trusted = clock.now() + Math.max(config.acRegMaxMs, config.acDirMaxMs);
  for (const inode of inodes.values()) {
    if (inode.opens === 0) continue;
    if (inode.isDirectory) notifier.invalidateAttributes(inode.nodeid);
    else void notifier.invalidatePages(inode.nodeid, 0, 0);
  }
  // An older kernel can only unhash a name, and unmounts what is mounted on it.
  if (!notifier.expiresEntries) return;
  const names = new Map<NodeId, KnownEntry[]>();
  let count = 0;
  const tell = async (): Promise<void> => {
    await Promise.all([...names].map(([parent, entries]) => notifier.expireEntries(parent, entries)));
    names.clear();
    count = 0;
  };
  for (const { nodeid, parent, name } of inodes.values()) {
    if (parent === undefined || nodeid >= firstNodeid) continue;
    const entry = { name: fileNameToBytes(name), exists: true };
    const others = names.get(parent.nodeid);
    if (others === undefined) names.set(parent.nodeid, [entry]);
    else others.push(entry);
    if (++count < NAMES_AT_A_TIME) continue;
    await tell();
    if (clock.now() > trusted) return;
  }
  await tell();
}
