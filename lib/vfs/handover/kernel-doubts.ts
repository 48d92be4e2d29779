/** What the kernel was told by the process before, and is not to go by any longer. */
import type { Clock } from '../../base/clock.js';
import type { FuseNotifier, KnownEntry, NodeId } from '../../fuse/contract/operations.js';
import { fileNameToBytes } from '../../programs/nfs3/index.js';
import type { InodeTable } from '../cache/inode-table.js';
import type { ClientConfig } from '../config.js';

/** Names that are on their way to the kernel at a time: notifications of changes are not to wait behind a million of them. */
const NAMES_AT_A_TIME = 64;

export interface DoubtNeeds {
  readonly inodes: InodeTable;
  readonly clock: Clock;
  readonly config: Pick<ClientConfig, 'acRegMaxMs' | 'acDirMaxMs'>;
}

/**
 * The kernel asks again for all that it believes of names, and drops what it has of open files. Only of inodes with node ids
 * below `firstOwn`: this process has told it of the others. Ends when the kernel trusts no name any more that it was told
 * before. Never rejects.
 */
export async function letKernelAsk(
  notifier: FuseNotifier,
  { inodes, clock, config }: DoubtNeeds,
  firstOwn: NodeId,
): Promise<void> {
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
    if (parent === undefined || nodeid >= firstOwn) continue;
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
