/**
 * The attribute cache: how long attributes are trusted, which reply is newer, and whose change it was. Owns
 * the attribute fields of Inode.
 *
 * Rules: age counts from the start of the call that brought the attributes; the window doubles from ac*min to
 * ac*max each time that it elapsed without a change, and falls back when there was one (nfs(5), Linux
 * nfs_update_inode). A reply to a call that was started before newer attributes came does not roll them back.
 */
import { compareTime, type Fattr3, FileType, type NfsTime, type WccData } from '../nfs3/index.js';
import type { ClientConfig } from './config.js';
import type { CacheCounters } from './counters.js';
import type { Inode } from './inode.js';
import { OwnChanges, onlyCtimeMoved, sameState } from './own-changes.js';
import { ServerClock } from './server-clock.js';

/** When a call was started, in time and in order. Taken before it is sent. */
export interface CallStart {
  readonly at: number;
  readonly number: number;
}

export interface AttributeEvents {
  /** Somebody else changed the object; `before` is how it looked to us. */
  changedByOther(inode: Inode, before: Fattr3): void;
  /** The handle now answers for another object (other fileid or type). */
  identityChanged(inode: Inode): void;
}

export class AttributeCache {
  readonly #config: ClientConfig;
  readonly #now: () => number;
  readonly #counters: CacheCounters;
  readonly #events: AttributeEvents;
  readonly #serverClock = new ServerClock();
  #calls = 0;

  constructor(config: ClientConfig, now: () => number, counters: CacheCounters, events: AttributeEvents) {
    this.#config = config;
    this.#now = now;
    this.#counters = counters;
    this.#events = events;
  }

  /** To be called before every call whose reply carries attributes. */
  start(): CallStart {
    return { at: this.#now(), number: ++this.#calls };
  }

  isFresh(inode: Inode): boolean {
    return inode.attributes !== undefined && this.#now() < inode.attributesExpire;
  }

  /** Milliseconds for which the attributes will be trusted yet: what the kernel may be told. */
  remaining(inode: Inode): number {
    return inode.attributes === undefined ? 0 : Math.max(0, inode.attributesExpire - this.#now());
  }

  /** The attributes must be asked for before their next use. */
  expire(inode: Inode): void {
    inode.attributesExpire = 0;
  }

  /** Takes the attributes of a reply to a call that changed nothing. */
  observe(inode: Inode, attributes: Fattr3 | undefined, start: CallStart): void {
    if (attributes === undefined) return;
    this.#serverClock.saw(attributes.ctime, this.#now());
    if (isAnother(inode, attributes)) {
      this.#events.identityChanged(inode);
      return;
    }
    const known = inode.attributes;
    if (known === undefined) {
      this.#restartWindow(inode, attributes, start);
      return;
    }
    // While changes of our own are under way, a picture taken in between proves nothing.
    if (inode.own !== undefined) return;
    if (start.number <= inode.attributesCall) {
      const order = compareTime(attributes.ctime, known.ctime);
      if (order < 0) return;
      if (order === 0) {
        // Same ctime, other content: the server's clock is too coarse to say which is newer.
        if (!sameState(attributes, known)) this.expire(inode);
        return;
      }
    }
    if (sameState(attributes, known)) {
      this.#confirm(inode, attributes, start);
    } else if (inode.ctimeMoving && onlyCtimeMoved(known, attributes)) {
      inode.ctimeMoving = false;
      // Somebody's chmod may hide behind our own change, but not a change of the content.
      inode.accessGeneration++;
      this.#confirm(inode, attributes, start);
    } else {
      this.#foreign(inode, attributes, start);
    }
  }

  /**
   * How the object looks, of a reply that {@link observe} or {@link endChange} was given and of what other calls have
   * brought while it was on its way. Undefined: the server's clock is too coarse to say which of the two is later.
   */
  latest(inode: Inode, attributes: Fattr3, start: CallStart): Fattr3 | undefined {
    const known = inode.attributes;
    // Called when what is known was here already: the reply shows the object as it was after that.
    if (known === undefined || start.number > inode.attributesCall) return attributes;
    const order = compareTime(attributes.ctime, known.ctime);
    if (order !== 0) return order < 0 ? known : attributes;
    return sameState(attributes, known) ? attributes : undefined;
  }

  /** Nothing changed: the window doubles once it has elapsed in full. */
  #confirm(inode: Inode, attributes: Fattr3, start: CallStart): void {
    if (start.at >= inode.attributesExpire) this.#counters.revalidated++;
    if (start.at >= inode.windowStart + inode.attributesTimeout) {
      inode.windowStart = start.at;
      inode.attributesTimeout = Math.min(inode.attributesTimeout * 2, this.#maximum(attributes));
    }
    this.#store(inode, attributes, start);
  }

  #restartWindow(inode: Inode, attributes: Fattr3, start: CallStart): void {
    inode.windowStart = start.at;
    inode.attributesTimeout = this.#minimum(attributes);
    this.#store(inode, attributes, start);
  }

  /**
   * A call of ours that changes a name of the object is about to be sent. It moves the object's ctime, and the
   * reply does not say so: the next picture that differs in nothing else shows our own doing.
   */
  expectCtime(inode: Inode): void {
    inode.ctimeMoving = true;
  }

  /** The call of {@link expectCtime} failed. */
  expectNoCtime(inode: Inode): void {
    inode.ctimeMoving = false;
  }

  /**
   * Whether content that a call started at `start` brought could have changed again without `ctime` showing it:
   * the object was changed so recently that the server's clock may not have moved on.
   */
  isRacy(ctime: NfsTime, start: CallStart): boolean {
    return !this.#serverClock.hasLeft(ctime, start.at);
  }

  /** A call that changes the object is about to be sent. Each needs its {@link endChange}. */
  beginChange(inode: Inode): void {
    inode.own ??= new OwnChanges(inode.attributes);
    inode.own.active++;
    inode.contentChanges++;
  }

  /**
   * The call of {@link beginChange} ended, whatever its status. `wcc` is undefined when no reply came.
   * `trusting`: a server that does not say how the object looked before is believed to have seen only us
   * (for WRITE, as Linux does).
   */
  endChange(inode: Inode, wcc: WccData | undefined, start: CallStart, trusting = false): void {
    const own = inode.own;
    if (own === undefined) return;
    own.active--;
    inode.contentChanges++;
    const after = wcc?.after;
    if (after === undefined) {
      own.unknown = true;
      // What is known is outdated, however long other changes of ours go on.
      this.expire(inode);
    } else {
      this.#serverClock.saw(after.ctime, this.#now());
      if (isAnother(inode, after)) {
        if (own.active === 0) inode.own = undefined;
        this.#events.identityChanged(inode);
        return;
      }
      const moved = own.add(wcc?.before, after, trusting, inode.ctimeMoving);
      if (moved && own.frontier !== undefined) this.#restartWindow(inode, own.frontier, start);
    }
    if (own.active === 0 || own.overdue) this.#settle(inode, own, start);
  }

  #settle(inode: Inode, own: OwnChanges, start: CallStart): void {
    const foreign = own.foreignState();
    if (own.active === 0) inode.own = undefined;
    if (own.renamed) inode.ctimeMoving = false;
    if (foreign !== undefined) this.#foreign(inode, foreign, start);
    if (own.unknown) this.expire(inode);
  }

  #foreign(inode: Inode, attributes: Fattr3, start: CallStart): void {
    const before = inode.attributes;
    inode.generation++;
    inode.accessGeneration++;
    this.#counters.invalidated++;
    this.#restartWindow(inode, attributes, start);
    if (before !== undefined) this.#events.changedByOther(inode, before);
  }

  #store(inode: Inode, attributes: Fattr3, start: CallStart): void {
    const known = inode.attributes;
    if (
      known !== undefined &&
      (known.mode !== attributes.mode || known.uid !== attributes.uid || known.gid !== attributes.gid)
    ) {
      inode.accessGeneration++;
    }
    inode.attributes = attributes;
    inode.attributesExpire = start.at + inode.attributesTimeout;
    inode.attributesCall = this.#calls;
  }

  #minimum(attributes: Fattr3): number {
    if (!this.#config.attributeCache) return 0;
    return attributes.type === FileType.DIR ? this.#config.acDirMinMs : this.#config.acRegMinMs;
  }

  #maximum(attributes: Fattr3): number {
    if (!this.#config.attributeCache) return 0;
    return attributes.type === FileType.DIR ? this.#config.acDirMaxMs : this.#config.acRegMaxMs;
  }
}

/** A handle that answers for another fileid or type names another object. What is mounted is a directory. */
function isAnother({ attributes: known, isRoot }: Inode, now: Fattr3): boolean {
  if (known === undefined) return isRoot && now.type !== FileType.DIR;
  return known.fileid !== now.fileid || known.type !== now.type;
}
