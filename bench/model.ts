/** The words of the benchmark: rows, subjects that are measured, sessions of them, and what comes out. */
import type { Machine } from './machine.js';

/** What a load says of itself. */
export interface LoadResult {
  readonly seconds: number;
  readonly count: number;
  readonly bytes: number;
}

/**
 * What must have been forgotten before each run of a row. `client`: the client is mounted anew, the server still
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
  /** For what is no file system: moves a file of the row's folder from or to the server, whole. */
  transfer?(direction: 'read' | 'write', name: string, bytes: number): Promise<LoadResult>;
  /** Forgets what `cold` says, and mounts what is not mounted. To be called before anything else of the session. */
  prepare(cold: Cold): Promise<void>;
  /** Has what is dirty written out, so that no run pays for what was done before it. */
  settle(): Promise<void>;
  /** The processes of the client; empty where the kernel is the client. */
  processes(): readonly number[];
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
}

export interface Subject {
  readonly name: string;
  /** How the report explains it. */
  readonly description: string;
  readonly store: Store;
  takes(row: Row): boolean;
  /** Opens the folder of row `id`, which is there already. */
  open(id: string): Promise<Session>;
  /** The same, with a counter in between, for a run that is not timed. */
  openCounted?(id: string): Promise<CountedSession>;
  close(): Promise<void>;
}

/** What issue and design ask of a row, measured on the machine that the local value is of. */
export interface Target {
  readonly ours: number;
  /** What the local directory did there; undefined: the target is not scaled. */
  readonly local: number | undefined;
}

export interface Row {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  readonly cold: Cold;
  readonly target?: Target;
  /** The same for the rootless mount, which takes part only in rows that name one. */
  readonly rootlessTarget?: Target;
  /** Programs that only stream whole files can take part. */
  readonly transfers?: true;
  /** Fills the row's folder of a store, before anything is mounted. */
  prepare?(folder: string): Promise<void>;
  /** Untimed, through the client, before each run; not in cold rows, whose client must not have seen anything. */
  before?(session: Session): Promise<void>;
  /** The run; its value in the row's unit. */
  run(session: Session): Promise<number>;
  /** Untimed, after each run. */
  after?(session: Session): Promise<void>;
}

/** One subject's numbers in one row. */
export interface Measurement {
  readonly subject: string;
  readonly values: readonly number[];
  readonly median: number;
  readonly min: number;
  readonly max: number;
  /** User and system seconds of the client's processes, median of the runs; undefined without such processes. */
  readonly cpuSeconds: number | undefined;
  /** VmHWM of the client's biggest process, the highest of the runs, in KiB. */
  readonly peakKiB: number | undefined;
}

export interface RowResult {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  readonly cold: Cold;
  readonly target: Target | undefined;
  readonly rootlessTarget: Target | undefined;
  readonly measurements: readonly Measurement[];
  readonly calls: CallCounts | undefined;
  /** Subjects that could not do the row, and why. */
  readonly failures: Readonly<Record<string, string>>;
}

export interface Report {
  readonly date: string;
  readonly quick: boolean;
  readonly runs: number;
  readonly machine: Machine;
  readonly subjects: readonly { readonly name: string; readonly description: string }[];
  readonly rows: readonly RowResult[];
}

/** The product's own names among the subjects. */
export const OURS = 'nfs-fuse';
export const ROOTLESS = 'rootless';
export const LOCAL = 'local';
