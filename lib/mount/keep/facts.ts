/**
 * The facts of a mount that its state begins with: what was agreed with the kernel, where it is mounted, and which processes
 * have served it. Owns their form, and how facts that do not fit are refused.
 */
import { readFileSync } from 'node:fs';
import { packageInfo } from '../../base/package-info.js';
import type { ConnectionInfo } from '../../fuse/index.js';
import { type RecordMemory, RecordsError } from '../../records/index.js';

/** Of this form. Programs with another one leave a state alone. */
const VERSION = 1;

/** How a mount came about; an inherited one was made by another program. */
export type MadeBy = 'direct' | 'fusermount' | 'inherited';

/** The processes that have served a mount, one after the other. */
export interface Takeovers {
  /** Processes that went on with the mount of one that had died. */
  readonly deaths: number;
  /** Processes to which the mount was handed over in good order (`nfs-fuse restart`). */
  readonly restarts: number;
  /** The last of both kinds. */
  readonly last?:
    | {
        readonly kind: 'death' | 'restart';
        /** ISO 8601. */
        readonly at: string;
        /** From the end of the one process until the next one answered. */
        readonly milliseconds: number;
        /** The process that ended. */
        readonly pid: number;
        /** Files whose unwritten data died with it. */
        readonly files: number;
      }
    | undefined;
}

export interface MountFacts {
  readonly connection: ConnectionInfo;
  readonly mountpoint: string;
  readonly source: string;
  readonly madeBy: MadeBy;
  /** The process that serves it. */
  readonly pid: number;
  /** Number of the connection; undefined where the kernel does not tell. */
  readonly minor: number | undefined;
  /** The file in the runtime folder that has the notes of locks. */
  readonly lockNotes: string;
  readonly takeovers: Takeovers;
}

/** Makes these the facts of the state. */
export function writeFacts(memory: RecordMemory, facts: MountFacts): void {
  const { connection, ...others } = facts;
  memory.setFacts({
    version: VERSION,
    program: packageInfo().version,
    boot: bootId(),
    ...others,
    connection: { ...connection, flags: connection.flags.toString(16) },
  });
}

/** The mount is over: nobody goes on with this state. */
export function writeEnd(memory: RecordMemory): void {
  memory.setFacts({ version: VERSION, over: true });
}

/** Whether these facts of a state say that its mount was unmounted in good order. */
export function isOver(facts: unknown): boolean {
  return typeof facts === 'object' && facts !== null && 'over' in facts;
}

/** @throws RecordsError with a reason if the facts are not those of a mount of this machine since its start */
export function readFacts(memory: RecordMemory): MountFacts {
  const facts = memory.facts as
    | Partial<MountFacts & { version: number; boot: string; program: string }>
    | undefined;
  if (facts?.version !== VERSION)
    throw new RecordsError(
      'version',
      `the state is that of nfs-fuse ${String(facts?.program)}, and of a form that this version does not know`,
    );
  if (facts.boot !== bootId())
    throw new RecordsError('damaged', 'the state is older than the last start of this machine');
  const { connection, mountpoint, source, madeBy, pid, minor, lockNotes, takeovers } = facts;
  if (!isConnection(connection) || mountpoint === undefined || source === undefined || madeBy === undefined)
    throw new RecordsError('damaged', 'the facts of the state are damaged');
  return {
    connection: { ...connection, flags: BigInt(`0x${connection.flags}`) },
    mountpoint,
    source,
    madeBy,
    pid: pid ?? 0,
    minor,
    lockNotes: lockNotes ?? '',
    takeovers: takeovers ?? NO_TAKEOVERS,
  };
}

export const NO_TAKEOVERS: Takeovers = { deaths: 0, restarts: 0 };

type WrittenConnection = Omit<ConnectionInfo, 'flags'> & { readonly flags: string };

function isConnection(value: unknown): value is WrittenConnection {
  if (typeof value !== 'object' || value === null) return false;
  const { protocolMinor, maxWrite, maxReadahead, flags } = value as Record<string, unknown>;
  return (
    [protocolMinor, maxWrite, maxReadahead].every((number) => typeof number === 'number') &&
    typeof flags === 'string' &&
    /^[0-9a-f]+$/.test(flags)
  );
}

/** Changes when the machine is started. */
function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}
