/**
 * The embedded server: NFS version 3, MOUNT version 3 and NLM version 4 on one TCP port, over a local directory. It is a
 * convenience, and a server for tests. Owns its life: starting, stopping, restarting with or without the loss of a crash.
 */
import { randomBytes } from 'node:crypto';
import { realpathSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { MOUNT_PROGRAM } from '../programs/mount3/index.js';
import {
  type ErrorStatus,
  type FileHandle,
  NFS_PROGRAM,
  PROCEDURE_NAMES,
  type ProcedureName,
  Status,
} from '../programs/nfs3/index.js';
import { LOCK_CALLS, NLM_PROGRAM } from '../programs/nlm4/index.js';
import { RpcServer } from '../rpc/server/server.js';
import type { CallVerdict, ServerCall } from '../rpc/server/server-procedure.js';
import { Faults, type FaultyProcedure } from './faults.js';
import { LostCallError, serveWithFaults } from './faulty-call.js';
import { type LockDispatch, LockService } from './lock-service.js';
import { MountService } from './mount-service.js';
import { getattr } from './operations/attribute-operations.js';
import { nfsProcedures, type Operation } from './operations/nfs-procedures.js';
import { type EmbeddedServerOptions, type ResolvedOptions, resolveOptions } from './options.js';
import { type ServedUser, ServedUsers } from './served-users.js';
import { ObjectMovedError } from './status-error.js';
import type { ServedFile } from './tree/served-files.js';
import { ExportedTree } from './tree/tree.js';
import { isReservedPort, requireSquashable } from './trust.js';

/** One operation searches at most this often for objects that have moved: RENAME has two directories. */
const MAX_SEARCHES = 4;
/** The longest record: the data of a WRITE and its header. */
const RECORD_OVERHEAD = 64 * 1024;

const COUNTED: readonly FaultyProcedure[] = [...PROCEDURE_NAMES, ...LOCK_CALLS];

export interface RestartOptions {
  /** Every handle handed out so far becomes stale, as after a re-export. */
  readonly newHandles?: boolean | undefined;
  /** A crash: UNSTABLE writes without COMMIT are lost. Needs the option `undoUnstable`. */
  readonly loseUncommitted?: boolean | undefined;
}

export class EmbeddedServer {
  /** Calls that arrived, by procedure. */
  readonly counters: Record<FaultyProcedure, number>;
  readonly faults = new Faults();
  readonly #callers: ServedUsers;
  readonly #running = new Set<Promise<unknown>>();
  readonly #verdicts = new WeakMap<ServerCall, CallVerdict>();
  #options: ResolvedOptions;
  #tree: ExportedTree;
  #rpc: RpcServer | undefined;
  #locks: LockService | undefined;
  #address: AddressInfo | undefined;

  /** Rejects when the directory cannot be exported, or the port is taken, with a message for the user. */
  static async start(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
    const server = new EmbeddedServer(resolveOptions(options));
    try {
      requireSquashable(options, server.impersonating);
      await server.resume();
    } catch (error) {
      server.#tree.close();
      throw error;
    }
    return server;
  }

  private constructor(options: ResolvedOptions) {
    this.counters = Object.fromEntries(COUNTED.map((name) => [name, 0])) as typeof this.counters;
    this.#options = options;
    this.#callers = new ServedUsers(options);
    this.#tree = this.#openTree();
  }

  get port(): number {
    return this.#address?.port ?? this.#options.port;
  }

  /** Where it listens: "127.0.0.1". */
  get address(): string {
    return this.#address?.address ?? this.#options.host;
  }

  /** The name to mount: "/export" unless the options say otherwise. */
  get exportName(): string {
    return this.#options.exportName;
  }

  /** Whether calls are carried out with the callers' own identities. Otherwise all act as the server's user. */
  get impersonating(): boolean {
    return this.#callers.impersonating;
  }

  get rootHandle(): FileHandle {
    return this.#tree.table.root.handle;
  }

  /** Eight bytes; a new value tells clients that uncommitted data may be lost. */
  get writeVerifier(): string {
    return this.#tree.writeVerifier;
  }

  set writeVerifier(verifier: string) {
    if (verifier.length !== 8) throw new RangeError('a write verifier has eight bytes');
    this.#tree.writeVerifier = verifier;
  }

  /** The RPC server, for its own hooks and counters; another one after every restart. */
  get rpc(): RpcServer | undefined {
    return this.#rpc;
  }

  /** Locks that clients hold, and locks that they wait for. A restart forgets them. */
  get locks(): { readonly held: number; readonly waiting: number } {
    return this.#locks?.size ?? { held: 0, waiting: 0 };
  }

  resetCounters(): void {
    for (const name of COUNTED) this.counters[name] = 0;
  }

  /** Ends all connections and frees everything. */
  async close(): Promise<void> {
    await this.#stop();
    this.#tree.close();
  }

  /**
   * Stops as a crash does: connections are reset, and calls without an answer never get one. The port refuses
   * connections until {@link resume}.
   */
  async pause(options: RestartOptions = {}): Promise<void> {
    if (options.loseUncommitted === true && !this.#options.undoUnstable) {
      throw new Error('the server keeps no before-images: start it with the option undoUnstable');
    }
    await this.#stop();
    if (options.loseUncommitted === true) await this.#loseUncommitted();
    if (options.newHandles === true) this.#renewHandles();
    this.#replaceTree();
  }

  /** Listens again, on the same port. */
  async resume(): Promise<void> {
    if (this.#rpc !== undefined) return;
    const { host, limits, log, replayCache } = this.#options;
    const rpc = new RpcServer({
      maxRecord: limits.wtmax + RECORD_OVERHEAD,
      hooks: { after: (call) => this.#verdicts.get(call) },
      onHandlerError: (call, error) => {
        if (!(error instanceof LostCallError)) log(`${call.name} failed: ${String(error)}`);
      },
    });
    rpc.register(
      NFS_PROGRAM,
      nfsProcedures(
        (name, operation, args, call) => this.#dispatch(name, operation, args, call),
        replayCache,
      ),
    );
    const { exportName, path } = this.#options;
    rpc.register(
      MOUNT_PROGRAM,
      new MountService({
        exportName,
        path,
        log,
        tree: () => this.#currentTree(),
        callerOf: (call) => (this.#admits(call) ? this.#callers.identify(call.credential) : undefined),
      }).procedures(),
    );
    this.#locks = this.#lockService();
    rpc.register(NLM_PROGRAM, this.#locks.procedures());
    this.#address = await rpc.listen({ host, port: this.port });
    this.#rpc = rpc;
  }

  /** Forgets what a restarted server forgets (tables, verifier, replies), and keeps the port. */
  async restart(options: RestartOptions = {}): Promise<void> {
    await this.pause(options);
    await this.resume();
  }

  /** Exports another directory in place of this one, without ending connections. */
  reexport(path: string): void {
    this.#options = { ...this.#options, path: realpathSync(path) };
    this.#replaceTree();
  }

  // ---- trees

  #openTree(): ExportedTree {
    const verifier = randomBytes(8).toString('latin1');
    return new ExportedTree({ ...this.#options, callers: this.#callers }, verifier, this.faults);
  }

  #replaceTree(): void {
    const old = this.#tree;
    this.#tree = this.#openTree();
    old.close();
  }

  /** The tree that MNT shows. If another directory now stands in place of the exported one, it is that directory. */
  #currentTree(): ExportedTree {
    if (!this.#tree.table.isCurrent()) {
      this.#options.log(`${this.#options.path} has been replaced: exporting it anew`);
      this.#replaceTree();
    }
    return this.#tree;
  }

  #renewHandles(): void {
    this.#options = { ...this.#options, handleGeneration: this.#options.handleGeneration + 1 };
  }

  async #loseUncommitted(): Promise<void> {
    const { uncommitted } = this.#tree;
    for (const handle of uncommitted.files) {
      const file = await this.#findWritable(handle);
      // A local process has removed it.
      if (file === undefined) continue;
      uncommitted.undo(handle, file.descriptor);
      file.release();
    }
  }

  /** Searches for the file if it no longer has a name that is known. */
  async #findWritable(handle: FileHandle): Promise<ServedFile | undefined> {
    const { table, files, walk } = this.#tree;
    const acquire = () => files.acquire(table.get(handle), 'write', () => {});
    try {
      return acquire();
    } catch (error) {
      if (!(error instanceof ObjectMovedError)) throw error;
    }
    return (await walk.find(handle)) ? acquire() : undefined;
  }

  async #stop(): Promise<void> {
    const rpc = this.#rpc;
    this.#rpc = undefined;
    this.#locks = undefined;
    if (rpc !== undefined) {
      rpc.disconnectAll();
      await rpc.close(0);
    }
    await Promise.allSettled([...this.#running]);
  }

  // ---- calls

  #dispatch<Arguments, Result>(
    name: ProcedureName,
    operation: Operation<Arguments, Result>,
    args: Arguments,
    call: ServerCall,
  ): Result | Promise<Result> {
    this.counters[name] += 1;
    if (name !== 'NULL' && !this.#admits(call)) return failure(Status.PERM) as Result;
    if (!this.faults.isEmpty) {
      const faults = this.faults.take(name, args);
      if (faults.length > 0) {
        return serveWithFaults(faults, {
          procedure: name,
          serve: () => this.#serve(operation, args, call),
          failed: ({ status }) => (status === undefined ? undefined : (failure(status) as Result)),
          decide: (verdict) => this.#verdicts.set(call, verdict),
        });
      }
    }
    return this.#serve(operation, args, call);
  }

  /** With `reservedPortsOnly`: whether the call comes from a port that only root of a machine can give to a program. */
  #admits(call: ServerCall): boolean {
    return !this.#options.reservedPortsOnly || isReservedPort(call.remotePort);
  }

  #serve<Arguments, Result>(
    operation: Operation<Arguments, Result>,
    args: Arguments,
    call: ServerCall,
  ): Result | Promise<Result> {
    const caller = this.#callers.identify(call.credential);
    if (caller === undefined) return failure(Status.ACCES) as Result;
    try {
      const outcome = operation(this.#tree, args, caller);
      if (!(outcome instanceof Promise)) return outcome;
      return this.#track(
        outcome.catch((error: unknown) => this.#searchAndRepeat(operation, args, caller, error)),
      );
    } catch (error) {
      return this.#track(this.#searchAndRepeat(operation, args, caller, error));
    }
  }

  /** A crash waits for operations under way: they would otherwise be carried out after the restart. */
  #track<T>(promise: Promise<T>): Promise<T> {
    this.#running.add(promise);
    const done = () => this.#running.delete(promise);
    promise.then(done, done);
    return promise;
  }

  /** `thrown` ended the first attempt: mostly because an object has moved. */
  async #searchAndRepeat<Arguments, Result>(
    operation: Operation<Arguments, Result>,
    args: Arguments,
    caller: ServedUser,
    thrown: unknown,
  ): Promise<Result> {
    let error = thrown;
    for (let search = 0; search < MAX_SEARCHES && error instanceof ObjectMovedError; search++) {
      const tree = this.#tree;
      if (!(await tree.walk.find(error.handle))) break;
      try {
        return await operation(tree, args, caller);
      } catch (again) {
        error = again;
      }
    }
    if (error instanceof ObjectMovedError) return failure(Status.STALE) as Result;
    this.#options.log(`internal error: ${error instanceof Error ? error.stack : String(error)}`);
    return failure(Status.SERVERFAULT) as Result;
  }

  // ---- locks

  /** A new one: locks do not outlive a restart. */
  #lockService(): LockService {
    const { locks, now, readOnly } = this.#options;
    return new LockService({
      settings: locks,
      readOnly,
      now,
      admits: (call) => this.#admits(call),
      attributesOf: (object, call) => this.#serve(getattr, { object }, call),
      isOurs: (handle) => this.#tree.table.identityOf(handle) !== undefined,
      dispatch: (...parts) => this.#dispatchLock(...parts),
    });
  }

  #dispatchLock: LockDispatch = (name, args, call, serve, refuse) => {
    this.counters[name] += 1;
    const faults = this.faults.isEmpty ? [] : this.faults.take(name, args);
    if (faults.length === 0) return serve();
    return serveWithFaults(faults, {
      procedure: name,
      serve,
      failed: ({ lockStatus }) => (lockStatus === undefined ? undefined : refuse(lockStatus)),
      decide: (verdict) => this.#verdicts.set(call, verdict),
    });
  };
}

const NO_WCC = { before: undefined, after: undefined };

/** A failure that fits every procedure: each encoder takes the fields that it knows. */
function failure(status: ErrorStatus): Record<string, unknown> {
  return {
    status,
    attributes: undefined,
    directoryAttributes: undefined,
    wcc: NO_WCC,
    directoryWcc: NO_WCC,
    fromWcc: NO_WCC,
    toWcc: NO_WCC,
  };
}
