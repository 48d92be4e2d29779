/**
 * The supplementary groups of callers. FUSE names a caller by uid, gid and thread only: the groups are /proc's to tell, as
 * far as it shows that very thread. Owns what is known of callers whom it does not show.
 */
import type { Logger } from '../../base/log.js';
import { statusField, threadStatus } from './thread-status.js';

/** A thread as /proc/TID/status has it. */
export interface ThreadIds {
  /** Real, effective, saved, and that of file accesses. */
  readonly uids: readonly number[];
  readonly gids: readonly number[];
  readonly groups: readonly number[];
}

export type ReadThread = (tid: number) => ThreadIds | undefined;

/** Undefined: there is no such thread here, or it is hidden (hidepid=, see proc(5)). */
export function readThread(tid: number): ThreadIds | undefined {
  const status = threadStatus(tid);
  if (status === undefined) return undefined;
  const numbers = (field: string): number[] => {
    const text = statusField(status, field);
    return text === '' ? [] : text.split(/\s+/).map(Number);
  };
  return { uids: numbers('Uid'), gids: numbers('Gid'), groups: numbers('Groups') };
}

export interface CallerGroupsOptions {
  readonly log?: Pick<Logger, 'warn'> | undefined;
  /** groups=: those of callers whom /proc does not show. */
  readonly ofUnseen?: readonly number[] | undefined;
  /**
   * Somebody else has made the mount, perhaps in another PID namespace: a thread's number may be another thread's here.
   * Then groups= says that it is so; and otherwise the first caller whom /proc does not show proves it.
   */
  readonly madeElsewhere?: boolean | undefined;
  /** The kernel does not tell who asks, and nobody's groups are sent. */
  readonly idmapped?: boolean | undefined;
  readonly read?: ReadThread | undefined;
}

type Reason = 'namespace' | 'hidden' | 'other ids';

export class CallerGroups {
  /** Requests of callers whom /proc did not show, each thread once for as long as its groups are remembered. */
  unseen = 0;
  readonly #options: CallerGroupsOptions;
  readonly #groupsOfUnseen: readonly number[];
  readonly #read: ReadThread;
  /** Numbers of threads mean the same to the kernel and to /proc. */
  #trusted: boolean;
  #told = false;

  constructor(options: CallerGroupsOptions) {
    this.#options = options;
    this.#groupsOfUnseen = options.ofUnseen ?? [];
    this.#read = options.read ?? readThread;
    this.#trusted = options.madeElsewhere !== true || this.#groupsOfUnseen.length === 0;
  }

  /**
   * Of a thread that waits for its answer, which therefore still exists. `tid` 0: the mount's PID namespace has no number
   * for it.
   */
  readonly of = (tid: number, uid: number, gid: number): readonly number[] => {
    if (this.#options.idmapped) return [];
    if (tid === 0) return this.#ofUnseen('namespace', uid, gid);
    if (!this.#trusted) return this.#ofUnseen('hidden', uid, gid);
    const thread = this.#read(tid);
    // access(2) asks with the real ids. Others are those of a kernel service that acts for somebody (nfsd, overlayfs), or
    // the number is another thread's.
    if (thread !== undefined && isOneOf(thread.uids, uid) && isOneOf(thread.gids, gid)) return thread.groups;
    if (this.#options.madeElsewhere) this.#trusted = false;
    return this.#ofUnseen(thread === undefined ? 'hidden' : 'other ids', uid, gid);
  };

  #ofUnseen(reason: Reason, uid: number, gid: number): readonly number[] {
    this.unseen++;
    if (!this.#told && this.#groupsOfUnseen.length === 0) {
      this.#told = true;
      this.#options.log?.warn(
        `${WHY[reason](uid, gid)}, so its supplementary groups are unknown and not sent. ${REMEDY}`,
      );
    }
    return this.#groupsOfUnseen;
  }
}

/** Of the four ids of a thread, the real one and that of file accesses. */
function isOneOf([real, , , forFiles]: readonly number[], id: number): boolean {
  return id === forFiles || id === real;
}

const WHY: Readonly<Record<Reason, (uid: number, gid: number) => string>> = {
  namespace: (uid, gid) => `A caller (uid ${uid}, gid ${gid}) runs in another PID namespace`,
  hidden: (uid, gid) => `/proc does not show a caller (uid ${uid}, gid ${gid})`,
  'other ids': (uid, gid) =>
    `A caller (uid ${uid}, gid ${gid}) has other ids than the process that /proc shows under its number`,
};

const REMEDY =
  'Files that only the group may use are refused to it. Name the groups of such callers with -o groups=GID:GID, or run ' +
  'nfs-fuse in their PID namespace (Kubernetes: shareProcessNamespace). Said once for this mount.';
