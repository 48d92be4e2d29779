/** The locks of a mount, in the shape that `nfs-fuse locks --json` and `nfs-fuse stats --json` print. */
import { LAST_BYTE } from '../../locks/index.js';
import type { ProcedureCounts } from '../../rpc/index.js';
import type { NfsFileSystem } from '../../vfs/filesystem.js';
import type { ExportSession } from '../../vfs/remote/export-session.js';

/** An answer holds at most so many locks of each kind; the counts are those of all. */
const MAX_SHOWN = 1_000;

export interface ShownLock {
  /** From the mount's root, as text. */
  readonly path: string;
  /** Decimal: 64 bits do not fit a number. */
  readonly start: string;
  /** The last byte, decimal; null: to the end of the file, however long that becomes. */
  readonly end: string | null;
  readonly kind: 'exclusive' | 'shared';
  /** flock(2); otherwise fcntl(2), OFD locks included. */
  readonly flock: boolean;
  readonly state: 'held' | 'waiting';
  /** The process that asked last for this owner; 0: it is not visible to the mount. */
  readonly pid: number;
  /** For how long it has been held or waited for. */
  readonly seconds: number;
}

export interface LockStats {
  readonly held: number;
  readonly waiting: number;
  readonly locks: readonly ShownLock[];
  readonly procedures: readonly ProcedureCounts[];
}

/** Undefined: the kernel keeps all locks for the programs of this mount. */
export function lockStats(session: ExportSession, { locks }: NfsFileSystem): LockStats | undefined {
  if (locks === undefined || session.lockManager === undefined) return undefined;
  const held = locks
    .held()
    .flatMap(({ path, pid, flock, heldMs, locks: ranges }) =>
      ranges.map((range) => shown({ path, pid, flock, state: 'held' }, range, heldMs)),
    );
  const waiting = locks
    .waiting()
    .map(({ path, pid, flock, waitedMs, ...range }) =>
      shown({ path, pid, flock, state: 'waiting' }, range, waitedMs),
    );
  return {
    held: held.length,
    waiting: waiting.length,
    locks: [...held.slice(0, MAX_SHOWN), ...waiting.slice(0, MAX_SHOWN)],
    procedures: session.lockManager.rpc.procedureCounters(),
  };
}

function shown(
  whose: Pick<ShownLock, 'path' | 'pid' | 'flock' | 'state'>,
  { start, end, exclusive }: { readonly start: bigint; readonly end: bigint; readonly exclusive: boolean },
  milliseconds: number,
): ShownLock {
  return {
    ...whose,
    start: String(start),
    end: end === LAST_BYTE ? null : String(end),
    kind: exclusive ? 'exclusive' : 'shared',
    seconds: Math.round(milliseconds / 1000),
  };
}
