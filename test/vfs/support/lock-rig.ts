/** The locks of a mount over a fake server, a fake lock manager and a clock turned by hand. */
import type { FuseLock, LockRequest } from '../../../lib/fuse/contract/operations.js';
import { LAST_BYTE } from '../../../lib/locks/index.js';
import type { LockJournal, LockNote } from '../../../lib/vfs/locks/lock-notes.js';
import { Locks, type LocksOptions, LockType } from '../../../lib/vfs/locks/locks.js';
import { TestCancellation } from '../../rpc/support/procedures.js';
import { FakeLockManager } from './fake-lock-manager.js';
import { Rig, type RigOptions } from './rig.js';

/** The svid of the first owner. */
export const FIRST = 1000;

export interface Wish {
  /** The process, or the open file with `flock`: 1 by default. */
  readonly owner?: number;
  readonly start?: number;
  /** The last byte; the whole file by default. */
  readonly end?: number;
  readonly type?: 'read' | 'write' | 'unlock';
  readonly flock?: boolean;
  readonly pid?: number;
  readonly fh?: number;
  readonly cancellation?: TestCancellation;
}

/** Notes in memory, as lines. */
export class FakeJournal implements LockJournal {
  readonly lines: string[] = [];
  closed: boolean | undefined;

  note(note: LockNote): void {
    this.lines.push(describeNote(note));
  }

  forget(note: LockNote): void {
    const at = this.lines.indexOf(describeNote(note));
    if (at < 0) throw new Error(`never noted: ${describeNote(note)}`);
    this.lines.splice(at, 1);
  }

  close(allReleased: boolean): void {
    this.closed = allReleased;
  }
}

function describeNote({ handle, svid, waiting }: LockNote): string {
  const range = waiting === undefined ? 'holds' : `waits ${waiting.start}-${waiting.end}`;
  return `${handle} ${svid} ${range}`;
}

export class LockRig extends Rig {
  readonly manager: FakeLockManager;
  readonly journal = new FakeJournal();
  readonly locks: Locks;
  fh = 0;

  constructor(
    options: RigOptions,
    lockOptions: Partial<LocksOptions> = {},
    manager: FakeLockManager = new FakeLockManager(),
  ) {
    super(options);
    this.manager = manager;
    this.locks = this.mountLocks(lockOptions);
  }

  /** With a file "f" that is open for reading and writing. */
  static async open(
    options: RigOptions = {},
    lockOptions: Partial<LocksOptions> = {},
    content = '',
  ): Promise<LockRig> {
    const rig = new LockRig(options, lockOptions);
    rig.server.tree.file('f', content);
    rig.fh = (await rig.open('f', 2)).fh;
    rig.server.forgetCalls();
    return rig;
  }

  /** The locks of a mount of their own, with the same lock manager. */
  mountLocks(options: Partial<LocksOptions> = {}, first = FIRST): Locks {
    return new Locks(this.vfs, {
      rpc: this.manager,
      callerName: 'rig',
      connectionless: false,
      credential: this.credentials.of(0, 0, []),
      failsWhenLost: true,
      hearsGrants: true,
      journal: this.journal,
      random: () => first / 2 ** 31,
      ...options,
    });
  }

  get handle(): string {
    return this.server.tree.at('f').handle;
  }

  /** F_SETLK; exclusive and of the whole file unless the wish says otherwise. */
  set(wish: Wish = {}, locks = this.locks): Promise<void> {
    return locks.set(this.#file(wish), requestOf(wish), false, wish.cancellation);
  }

  /** F_SETLKW. */
  wait(wish: Wish = {}, locks = this.locks): Promise<void> {
    return locks.set(this.#file(wish), requestOf(wish), true, wish.cancellation);
  }

  unlock(wish: Wish = {}, locks = this.locks): Promise<void> {
    return this.set({ ...wish, type: 'unlock' }, locks);
  }

  /** F_GETLK. */
  test(wish: Wish = {}, locks = this.locks): Promise<FuseLock> {
    return locks.test(this.#file(wish), requestOf(wish), wish.cancellation);
  }

  /** close(2), as far as locks go. */
  async closed(owner = 1, fh = this.fh): Promise<void> {
    const file = this.files.get(fh);
    if (this.locks.endsAtClose(file, BigInt(owner))) await this.locks.closed(file, BigInt(owner));
  }

  #file({ fh = this.fh }: Wish) {
    return this.files.get(fh);
  }

  /** The names of the calls to the lock manager since the last look. */
  calls(): string {
    const names = this.manager.names();
    this.manager.forgetCalls();
    return names;
  }
}

export function requestOf(wish: Wish): LockRequest {
  const { owner = 1, start = 0, end, type = 'write', flock = false, pid = 100 + owner } = wish;
  const types = { read: LockType.READ, write: LockType.WRITE, unlock: LockType.UNLOCK };
  const last = end === undefined ? LAST_BYTE : BigInt(end);
  return {
    fh: wish.fh ?? 0,
    owner: BigInt(owner),
    flock,
    lock: { start: BigInt(start), end: last, type: types[type], pid },
  };
}

/** Somebody who can be interrupted. */
export function interrupter(): TestCancellation {
  return new TestCancellation();
}
