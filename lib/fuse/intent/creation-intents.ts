/**
 * Tells of a lookup whether it only prepares the making of a new name. The kernel does not say so (Linux's own NFS client
 * is told: LOOKUP_CREATE and LOOKUP_EXCL), but the thread that waits for the answer shows its system call in /proc. Owns for
 * whom, how often and for how long that is looked at.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { release } from 'node:os';
import type { CreationIntents, NodeId } from '../contract/operations.js';
import { type ExclusiveCall, exclusiveCall, existingIsApart, placeOf } from './exclusive-call.js';
import { closeDescriptor, isNode, openDirectoryOf, shownCall, ThreadLook } from './thread-calls.js';

/** Looks that run at a time. Each occupies a thread of libuv's pool, which has four. */
const LOOKS = 2;
/** After so long a request is answered without an outcome. */
const PATIENCE_MS = 20;
/** Looking ends for a while after this number of threads in a row that may not be looked at. */
const MOST_REFUSALS = 4;
const REST_MS = 30_000;
/** Before 5.12 openat2(2) could not be told to do without asking, and before 5.11 a look could wait for an exec of the thread's process. */
const OLDEST_KERNEL = [5, 12] as const;

export interface Device {
  readonly major: number;
  readonly minor: number;
}

export class ThreadIntents implements CreationIntents {
  readonly #uid = process.geteuid?.();
  #device: Device | undefined;
  readonly #free: ThreadLook[] = [];
  readonly #waiting: ((look: ThreadLook) => void)[] = [];
  /** Looks that are under way for longer than their request waits. */
  #overdue = 0;
  #refusals = 0;
  #restUntil = 0;

  /**
   * From now on, for the mount with this device number, which this process has made: the kernel numbers threads as this process
   * sees them then.
   */
  begin(device: Device): void {
    if (!isPossibleHere()) return;
    this.#device = device;
    for (let count = 0; count < LOOKS; count++) this.#free.push(new ThreadLook());
  }

  /** See CreationIntents. False wherever it is not certain. Never rejects. */
  async makes(
    thread: { readonly pid: number; readonly uid: number },
    parent: NodeId,
    name: string,
  ): Promise<boolean> {
    // Memory of other users may be of a kind that never answers a reader.
    if (this.#device === undefined || thread.pid === 0 || thread.uid !== this.#uid) return false;
    if (this.#overdue > 0 || performance.now() < this.#restUntil) return false;
    const shown = shownCall(thread.pid);
    if (shown === undefined) return this.#refused();
    this.#refusals = 0;
    const call = exclusiveCall(shown, process.arch);
    return call !== undefined && this.#inTime(thread.pid, call, this.#device, parent, name);
  }

  #refused(): false {
    if (++this.#refusals < MOST_REFUSALS) return false;
    this.#refusals = 0;
    this.#restUntil = performance.now() + REST_MS;
    return false;
  }

  #inTime(tid: number, call: ExclusiveCall, device: Device, parent: NodeId, name: string): Promise<boolean> {
    return new Promise((resolve) => {
      let isOverdue = false;
      const timer = setTimeout(() => {
        isOverdue = true;
        this.#overdue++;
        resolve(false);
      }, PATIENCE_MS);
      void this.#withLook(async (look) => {
        if (isOverdue) return;
        resolve(await this.#isCertain(look, tid, call, device, parent, name));
      })
        .catch(() => resolve(false))
        .finally(() => {
          clearTimeout(timer);
          if (isOverdue) this.#overdue--;
        });
    });
  }

  async #withLook(work: (look: ThreadLook) => Promise<void>): Promise<void> {
    const look =
      this.#free.pop() ?? (await new Promise<ThreadLook>((resolve) => this.#waiting.push(resolve)));
    try {
      await work(look);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(look);
      else next(look);
    }
  }

  /**
   * The lookup is about the last name of the path if that name occurs nowhere else in the path, no symbolic link brings more
   * names, and the directory on the way to it is the one that the lookup is about: the same node, by whatever name.
   */
  async #isCertain(
    look: ThreadLook,
    tid: number,
    call: ExclusiveCall,
    device: Device,
    parent: NodeId,
    name: string,
  ): Promise<boolean> {
    const path = await look.pathAt(tid, call.path.address);
    if (path === undefined) return this.#refused();
    const place = placeOf(path, name, call.makesDirectory);
    if (place === undefined) return false;
    if (call.existing !== undefined) {
      const existing = await look.pathAt(tid, call.existing.address);
      if (existing === undefined || !existingIsApart(call, path, existing, name)) return false;
    }
    const from = openDirectoryOf(tid, place.isAbsolute ? 'root' : call.path.from);
    if (from < 0) return this.#refused();
    try {
      if (place.directory === '') return isNode(from, device, parent);
      const reached = await look.walk(from, place.directory);
      if (reached < 0) return false;
      try {
        return isNode(reached, device, parent);
      } finally {
        closeDescriptor(reached);
      }
    } finally {
      closeDescriptor(from);
    }
  }
}

/** Whether /proc numbers threads as this process's PID namespace does, and the kernel has all that is needed. */
function isPossibleHere(): boolean {
  if (process.arch !== 'x64' && process.arch !== 'arm64') return false;
  const [major = 0, minor = 0] = release().split('.').map(Number);
  if (major < OLDEST_KERNEL[0] || (major === OLDEST_KERNEL[0] && minor < OLDEST_KERNEL[1])) return false;
  try {
    if (readlinkSync('/proc/self') !== String(process.pid)) return false;
    // One number: the namespace of /proc is the innermost one of this process.
    return /^NSpid:\t\d+$/m.test(readFileSync('/proc/self/status', 'latin1'));
  } catch {
    return false;
  }
}
