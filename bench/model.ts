/** The words of the benchmark: rows, subjects that are measured, their sessions, and results. */
import type { Way } from './distance/way.js';
import type { Machine } from './machine.js';
import type { Reference } from './reference.js';

/** A load's own report. */
export interface LoadResult {
  readonly seconds: number;
  readonly count: number;
  readonly bytes: number;
  /** User and system time of the load itself, and of the programs that it ran. */
  readonly cpuSeconds: number;
}

/**
 * The caches that must be empty before each run of a row. `client`: the client is mounted anew, the server still
 * has everything in memory. `all`: the client is mounted anew, the server restarted, the kernel's caches dropped.
 * `nothing`: the mount stays, and has just done the same work.
 */
export type Cold = 'nothing' | 'client' | 'all';

export type Unit = 'MiB/s' | '/s' | 's';

/** A subject in the middle of a row: something mounted, or otherwise ready to take the load. */
export interface Session {
  /** The row's folder as the client's programs see it. */
  readonly folder: string;
  /** Runs one of load.c's loads as the subject's user. */
  load(...argv: readonly string[]): Promise<LoadResult>;
  /** For a subject that is no file system: moves a file of the row's folder from or to the server, whole. */
  transfer?(direction: 'read' | 'write', name: string, bytes: number): Promise<LoadResult>;
  /** Forgets what `cold` says, and mounts what is not mounted. To be called before anything else of the session. */
  prepare(cold: Cold): Promise<void>;
  /** Has dirty data written out, so that no run pays for the one before it. */
  settle(): Promise<void>;
  /** The processes of the client; empty where the kernel is the client. */
  processes(): readonly number[];
  /** The processes of the server, where it is known. */
  servers(): readonly number[];
  /** A name that no run before has used. */
  freshName(): string;
  close(): Promise<void>;
}

/** Calls on the wire by procedure: "GETATTR" -> 5. */
export type CallCounts = Readonly<Record<string, number>>;

export interface CountedSession extends Session {
  /** Calls since the last time it was asked. */
  takeCalls(): CallCounts;
}

/** The folder of the file system behind a subject; subjects that share a server share it. */
export interface Store {
  readonly path: string;
  /** Small files that a freshly mounted client works with before it is measured. */
  readonly primeFiles: number;
}

export interface Subject {
  readonly name: string;
  /** How the report explains it. */
  readonly description: string;
  readonly store: Store;
  /** Its server can be put at a distance; otherwise a way makes no difference to it. */
  readonly distant?: boolean;
  /** Rows that it does not take with the server further away. */
  readonly onlyNear?: readonly string[];
  takes(row: Row): boolean;
  /** Opens a row's folder of this name, which is there already; its server is reached by `way`. */
  open(folder: string, way: Way): Promise<Session>;
  /** The same, with a counter in between, for a run that is not timed. */
  openCounted?(folder: string, way: Way): Promise<CountedSession>;
  close(): Promise<void>;
}

/** The operation that a row repeats: costs are given for one of them. */
export interface Operation {
  /** One of them, in a word: "file", "MiB". */
  readonly name: string;
  /** In one run. */
  readonly count: number;
}

export interface Row {
  readonly id: string;
  /** Its folder's name in the stores; by default the row's id. A server may still know what was removed behind its back. */
  readonly folder?: string;
  readonly title: string;
  readonly unit: Unit;
  readonly cold: Cold;
  readonly operation: Operation;
  /** A stream: mounts in a user namespace, which the kernel treats otherwise, and earlier builds take part. */
  readonly stream?: true;
  /** Programs that only stream whole files can take part. */
  readonly transfers?: true;
  /** Comes down to calls one after the other, of which a program without a file system can take part. */
  readonly bareCalls?: true;
  /** Many small changes, which a server owes to the disk: the local directory takes part once more, with each of them synced. */
  readonly changes?: true;
  /** Fills the row's folder of a store, before anything is mounted. */
  prepare?(folder: string): Promise<void>;
  /** Untimed, through the client, before each run; not in cold rows, whose client must not have seen anything. */
  before?(session: Session): Promise<void>;
  run(session: Session): Promise<LoadResult>;
  /** Untimed, after each run. */
  after?(session: Session): Promise<void>;
}

/** The result and the cost of one run. */
export interface Sample {
  /** In the row's unit. */
  readonly value: number;
  readonly seconds: number;
  /** User and system time of the load, of the client's processes and of the server's; undefined: there are none. */
  readonly loadCpuSeconds: number;
  readonly cpuSeconds: number | undefined;
  readonly serverCpuSeconds: number | undefined;
  /** How often a thread of the client was put to sleep, or another was preferred to it. */
  readonly switches: number | undefined;
  /** The most memory that the client's processes had resident during the run, in KiB. */
  readonly peakKiB: number | undefined;
}

/** One subject's numbers in one row. */
export interface Measurement {
  readonly subject: string;
  readonly values: readonly number[];
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** As in {@link Sample}: medians of the runs, but for the peak, which is the highest. */
  readonly seconds: number;
  readonly loadCpuSeconds: number;
  readonly cpuSeconds: number | undefined;
  readonly serverCpuSeconds: number | undefined;
  readonly switches: number | undefined;
  readonly peakKiB: number | undefined;
}

/** A row with the server further away. */
export interface FarResult {
  /** Added by the way to each round trip. */
  readonly rttMs: number;
  /** Of the row as it was done there: with fewer operations. */
  readonly title: string;
  readonly operation: Operation;
  readonly measurements: readonly Measurement[];
  readonly failures: Readonly<Record<string, string>>;
}

export interface RowResult {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  readonly cold: Cold;
  readonly operation: Operation;
  readonly reference: Reference | undefined;
  readonly measurements: readonly Measurement[];
  readonly calls: CallCounts | undefined;
  /** How long the row took, preparation, warm-up and all. */
  readonly seconds: number;
  /** Subjects that could not do the row, and why. */
  readonly failures: Readonly<Record<string, string>>;
  /** The same at the further distances, by distance; not there if there was only one. */
  readonly far?: readonly FarResult[];
}

export interface Report {
  readonly date: string;
  readonly quick: boolean;
  readonly runs: number;
  /** How long the whole benchmark took. */
  readonly seconds: number;
  /** It was broken off and went on: in so many pieces, on the same machine. */
  readonly pieces?: number;
  readonly machine: Machine;
  /** Where the servers and the local directory keep their files. */
  readonly disk: string;
  /** Data that nfs-fuse may hold, at the most, for readers and for writers. */
  readonly bufferMiB: { readonly read: number; readonly write: number };
  /** Milliseconds that the ways to the servers are to add to each round trip, ascending; not there if none was asked for. */
  readonly rttMs?: readonly number[];
  /** The same as it was measured: the round trip over each way, in milliseconds. */
  readonly tripMs?: readonly number[];
  readonly subjects: readonly { readonly name: string; readonly description: string }[];
  readonly rows: readonly RowResult[];
}

/** The product's own names among the subjects. */
export const OURS = 'nfs-fuse';
export const ROOTLESS = 'rootless';
/** The same with `-o direct_io`. */
export const ROOTLESS_DIRECT = 'rootless-direct';
/** An earlier build of it. */
export const BEFORE = 'before';
export const BEFORE_ROOTLESS = 'before-rootless';
export const LOCAL = 'local';
export const DURABLE = 'durable';
