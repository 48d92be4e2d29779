/**
 * Attributes of one file that were set here, and that the server is to be asked for together with the file's data. Owns them from
 * the moment when the program was answered until the server has answered: their order among the WRITEs of the file, the time
 * that they may wait, and the record of them.
 */
import type { Clock, Timer } from '../../base/clock.js';
import type { Logger } from '../../base/log.js';
import { type Fattr3, type NfsTime, type Sattr3, Status } from '../../programs/nfs3/index.js';
import { type SetOnceNeeds, setOnce } from '../attributes/set-attributes.js';
import type { AttributeCache } from '../cache/attribute-cache.js';
import { describePath, type Inode } from '../cache/inode.js';
import { type UserCredential, unattended } from '../caller/caller.js';
import { isStale } from '../remote/status-errno.js';
import { type Overtaking, wasSetLast } from './overtaking.js';
import type { Sending } from './sending-writes.js';
import type { WriteRecord } from './write-record.js';

/** The parts of the mount that this needs. */
export interface DeferredAttributesNeeds extends SetOnceNeeds {
  readonly attributes: AttributeCache;
  readonly clock: Clock;
  readonly log: Logger;
  readonly overtaking: Overtaking;
}

/** The writer of the file. */
export interface AttributesOwner {
  readonly inode: Inode;
  readonly record: WriteRecord | undefined;
  /** Sends the file's data, and then these. */
  drain(): Promise<void>;
  /** The server has refused them. */
  notSet(error: unknown): void;
  /** Something has ended. */
  settled(): void;
}

/** Attributes that were set through one credential. `afterData`: data that is written before them must not come after them. */
interface Changes {
  readonly set: Sattr3;
  readonly credential: UserCredential;
  readonly afterData: boolean;
}

/**
 * They wait so long for the file's data and its close(2): programs finish a small file sooner. Until then other clients see the
 * mode that CREATE has given, and perhaps times that mean nothing, by which a lock file looks years old.
 */
const WAIT_MS = 20;

export class DeferredAttributes {
  readonly #vfs: DeferredAttributesNeeds;
  readonly #owner: AttributesOwner;
  #waiting: Changes | undefined;
  #underWay: Changes | undefined;
  /** Times that were set after data that the server may lose yet: they come once more after that is written again. */
  #done: Changes | undefined;
  #sending: Promise<void> | undefined;
  /** Data was written again while they were on their way. */
  #isOutdated = false;
  #timer: Timer | undefined;

  constructor(vfs: DeferredAttributesNeeds, owner: AttributesOwner) {
    this.#vfs = vfs;
    this.#owner = owner;
  }

  /** The server has answered for all of them. */
  get isEmpty(): boolean {
    return this.#waiting === undefined && this.#sending === undefined;
  }

  /** Data that is written now has to wait until they are set. */
  get holdUpWrites(): boolean {
    return this.#waiting?.afterData === true || this.#underWay?.afterData === true;
  }

  /** The file as it will be, where the server has it so now. */
  shown(attributes: Fattr3): Fattr3 {
    const set = merged(merged(undefined, this.#underWay), this.#waiting)?.set;
    if (set === undefined) return attributes;
    return {
      ...attributes,
      mode: set.mode ?? attributes.mode,
      uid: set.uid ?? attributes.uid,
      gid: set.gid ?? attributes.gid,
      atime: timeOf(set.atime, attributes.atime, attributes),
      mtime: timeOf(set.mtime, attributes.mtime, attributes),
    };
  }

  /** Takes changes over; later ones override earlier ones. False: should this process die, they could not be told of. */
  defer(changes: Changes): boolean {
    const all = merged(merged(merged(this.#done, this.#underWay), this.#waiting), changes);
    const { record } = this.#owner;
    if (all !== undefined && record?.sets(all.set, all.credential) === false) return false;
    this.#wait(changes);
    return true;
  }

  /** An earlier process has recorded them. */
  takeUp(changes: Changes): void {
    this.#wait(changes);
  }

  #wait(changes: Changes): void {
    this.#waiting = merged(this.#waiting, changes);
    this.#timer ??= this.#vfs.clock.after(WAIT_MS, () => {
      this.#timer = undefined;
      if (this.#waiting?.afterData) void this.#owner.drain();
      else void this.send([]);
    });
  }

  /** Some of the file's data is written again: what was set after it has to be set once more. */
  again(): void {
    if (this.#underWay !== undefined) this.#isOutdated = true;
    const done = this.#done;
    this.#done = undefined;
    if (done === undefined) return;
    const later = this.#waiting;
    this.#waiting = done;
    this.#wait(later === undefined ? done : { ...later, afterData: true });
  }

  /** Changes that were set are of no account any more: the data is stable, or something was done to the file after it. */
  forget(): void {
    const hadAny = this.#done !== undefined;
    this.#done = undefined;
    if (hadAny || this.isEmpty) this.#recordLeft();
  }

  /** The next process must not set once more what the server has set: others may have changed it since. */
  #recordLeft(): void {
    const { record } = this.#owner;
    const left = merged(merged(this.#done, this.#underWay), this.#waiting);
    if (record === undefined || record.sets(left?.set, left?.credential)) return;
    // In the room of the old one, for which there was no room beside it.
    record.sets(undefined, undefined);
    record.sets(left?.set, left?.credential);
  }

  /**
   * Sends what waits, after the WRITEs that it has to come after. Resolves once the server has answered for it and for all that was
   * sent before. Never rejects. Undefined: there is nothing.
   */
  send(writes: readonly Sending[]): Promise<void> | undefined {
    const changes = this.#waiting;
    if (changes === undefined) return this.#sending;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#waiting = undefined;
    this.#underWay = merged(this.#underWay, changes);
    const before = this.#sending;
    const sending = this.#sendAfter(before, writes, changes).then(() => {
      if (this.#sending === sending) {
        this.#sending = undefined;
        this.#underWay = undefined;
        if (this.#isOutdated) this.again();
        this.#isOutdated = false;
      }
      this.#owner.settled();
      if (this.#sending === undefined) this.#recordLeft();
    });
    this.#sending = sending;
    return sending;
  }

  async #sendAfter(
    before: Promise<void> | undefined,
    writes: readonly Sending[],
    changes: Changes,
  ): Promise<void> {
    await before;
    const [write, ...others] = writes;
    const beside = others.length === 0 && write !== undefined && this.#mayGoBeside(write, changes);
    if (beside) await write.begun;
    else if (changes.afterData) for (const { done } of writes) await done;
    const set = await this.#set(changes);
    if (set === 'refused') return;
    this.#done = merged(this.#done, timesOf(changes));
    if (!beside || !changes.afterData) return;
    await write.done;
    if (write.error !== undefined) return;
    const inOrder = wasSetLast(changes.set, write.extent.end, set, write.after);
    this.#vfs.overtaking.saw(inOrder);
    if (!inOrder) await this.#set(changes);
  }

  /** Whether it may leave while this WRITE is on its way: the replies will show which was first, and either order is permitted. */
  #mayGoBeside({ extent }: Sending, { set: { mode, uid }, credential }: Changes): boolean {
    const size = this.#owner.inode.attributes?.size;
    if (!this.#vfs.overtaking.pays || size === undefined || BigInt(extent.end) <= size) return false;
    if (credential.uid === 0) return true;
    return (uid ?? credential.uid) === credential.uid && (mode === undefined || (mode & 0o200) !== 0);
  }

  /** Answers the attributes of the reply. */
  async #set({ set, credential }: Changes): Promise<Fattr3 | undefined | 'refused'> {
    const { attributes, log, redriver } = this.#vfs;
    const { inode } = this.#owner;
    const caller = unattended(credential);
    let isGone = false;
    try {
      const { result } = await setOnce(this.#vfs, inode, set, caller);
      isGone = isStale(result.status);
      if (result.status !== Status.OK) throw redriver.reportFailure(result, [inode], caller, 'descriptor');
      if (inode.stale) throw redriver.reportStale(inode, caller, 'descriptor');
      return result.wcc.after;
    } catch (error) {
      attributes.expire(inode);
      log.error(`${describePath(inode)}: its mode, owner or times were not set: ${(error as Error).message}`);
      // Nobody can see how a file looks that another client has removed: it was there when the program set them.
      if (!isGone) this.#owner.notSet(error);
      return 'refused';
    }
  }
}

/** A server may keep the verifier of CREATE in the times of a new file, but not in its ctime. */
function timeOf(set: NfsTime | 'server' | undefined, known: NfsTime, { ctime }: Fattr3): NfsTime {
  return set === 'server' ? ctime : (set ?? known);
}

/**
 * The part of changes that data which is written again would undo: the times. All of them are on stable storage (RFC 1813 3.3.2), and
 * a mode or an owner that was set once more would undo another client's.
 */
function timesOf({ set: { atime, mtime }, credential, afterData }: Changes): Changes | undefined {
  if (typeof mtime !== 'object') return undefined;
  return { set: { atime: typeof atime === 'object' ? atime : undefined, mtime }, credential, afterData };
}

/** Both, where the later ones count. */
function merged(earlier: Changes | undefined, later: Changes | undefined): Changes | undefined {
  if (earlier === undefined || later === undefined) return later ?? earlier;
  const { set: one } = earlier;
  const { set: other, credential } = later;
  return {
    set: {
      mode: other.mode ?? one.mode,
      uid: other.uid ?? one.uid,
      gid: other.gid ?? one.gid,
      atime: other.atime ?? one.atime,
      mtime: other.mtime ?? one.mtime,
    },
    credential,
    afterData: earlier.afterData || later.afterData,
  };
}
