/**
 * The attribute cache: how long attributes are trusted, which reply is newer, and whose change it was. Owns
 * the attribute fields of Inode.
 *
 * Rules: age counts from the start of the call that brought the attributes; the window doubles from ac*min to
 * ac*max each time that it elapsed without a change, and falls back when there was one (nfs(5), Linux
 * nfs_update_inode). A reply to a call that was started before newer attributes came does not roll them back. A reply
 * to a call that was started after them is newer, whatever its ctime says. Attributes that were doubted are trusted
 * again only once a call that was started after that has brought them: see picture.ts for what is in doubt.
 */
import { compareTime, type Fattr3, FileType, type NfsTime, type WccData } from '../../programs/nfs3/index.js';
import type { ClientConfig } from '../config.js';
import type { CacheCounters } from '../counters.js';
import type { Inode } from './inode.js';
import { OwnChanges, onlyCtimeMoved } from './own-changes.js';
import { byCtime, type CallStart, type Picture, sameOwnership, samePicture, sameState } from './picture.js';
import { ServerClock } from './server-clock.js';

export type { CallStart } from './picture.js';

export interface AttributeEvents {
  /** Somebody else changed the object; `before` is how it looked to us. */
  changedByOther(inode: Inode, before: Fattr3): void;
  /** This mount changes the object, or one of its names: the kernel drops what it knows of the attributes by itself. */
  changedHere(inode: Inode): void;
  /** The handle now answers for another object (other fileid or type). */
  identityChanged(inode: Inode): void;
  /**
   * Mode, owner, group or link count are not what they were known to be, and no answer that is due to the kernel
   * says so. An answer that was on its way when this is called may carry the old ones.
   */
  ownershipChanged(inode: Inode): void;
}

/** Assumptions that {@link AttributeCache.endChange} may make. */
export interface ChangeTerms {
  /**
   * A server that does not say how the object looked before is believed to have seen only us (for WRITE, as Linux
   * does).
   */
  readonly trusting?: boolean;
  /** The attributes go to the kernel with the answer to its request. */
  readonly told?: boolean;
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

  /** Nothing that is known of the object's attributes is evidence any more. */
  forgetAll(inode: Inode): void {
    inode.attributes = undefined;
    inode.own?.restart();
  }

  /** This mount has removed the object's last name. */
  lastLinkGone(inode: Inode): void {
    this.expire(inode);
    if (inode.attributes !== undefined) inode.attributes = { ...inode.attributes, nlink: 0 };
  }

  /** Milliseconds for which the attributes will be trusted yet: what the kernel may be told. */
  remaining(inode: Inode): number {
    return inode.attributes === undefined ? 0 : Math.max(0, inode.attributesExpire - this.#now());
  }

  /**
   * The attributes must be asked for before their next use. Replies to calls that have been sent already may
   * be older than the reason for this, and do not settle it.
   */
  expire(inode: Inode): void {
    inode.attributesExpire = 0;
    inode.doubtedCall = this.#calls;
  }

  /**
   * Takes the attributes of a reply to a call that changed nothing. `told`: they go to the kernel with the answer to
   * its request.
   */
  observe(inode: Inode, attributes: Fattr3 | undefined, start: CallStart, told = false): void {
    if (attributes === undefined) return;
    this.#serverClock.saw(attributes.ctime, this.#now());
    if (isAnother(inode, attributes)) {
      this.#events.identityChanged(inode);
      return;
    }
    const known = inode.attributes;
    let picture = { attributes, start, seen: this.#calls };
    if (known === undefined) {
      this.#restartWindow(inode, picture, told);
      return;
    }
    // While changes of our own are under way, a picture taken in between proves nothing.
    if (inode.own !== undefined) return;
    if (start.number > inode.attributesCall) {
      this.#compareClock(known, attributes);
    } else if (!samePicture(attributes, known)) {
      const order = byCtime(attributes, known, this.#serverClock.ordered);
      if (order === 'unclear') this.expire(inode);
      if (order !== 'newer') return;
    } else if (compareTime(known.atime, attributes.atime) > 0) {
      // A READ that overlapped with this call has moved the time of access, which takes no new ctime.
      picture = { ...picture, attributes: known };
    }
    if (sameState(attributes, known)) {
      this.#confirm(inode, picture, told);
    } else if (inode.ctimeMoving && onlyCtimeMoved(known, attributes)) {
      inode.ctimeMoving = false;
      // Somebody's chmod may hide behind our own change, but not a change of the content.
      inode.advanceAccessGeneration();
      this.#confirm(inode, picture, told);
    } else {
      this.#foreign(inode, picture, told);
    }
  }

  /** `later` is certain to be from after `earlier`. */
  #compareClock(earlier: Fattr3, later: Fattr3): void {
    const { seconds, nanoseconds } = later.ctime;
    if (compareTime(later.ctime, earlier.ctime) >= 0) return;
    // The same time, rounded down.
    if (nanoseconds === 0 && seconds === earlier.ctime.seconds) return;
    this.#serverClock.wentBack(later.ctime, this.#now());
  }

  /**
   * How the object looks, of a reply that {@link observe} or {@link endChange} was given and of what other calls have
   * brought while it was on its way. Undefined: nothing says which of the two is later.
   */
  latest(inode: Inode, attributes: Fattr3, start: CallStart): Fattr3 | undefined {
    const known = inode.attributes;
    // Called when what is known was here already: the reply shows the object as it was after that.
    if (known === undefined || start.number > inode.attributesCall) return attributes;
    if (samePicture(attributes, known)) return attributes;
    const order = byCtime(attributes, known, this.#serverClock.ordered);
    if (order === 'unclear') return undefined;
    return order === 'older' ? known : attributes;
  }

  /** Nothing changed: the window doubles once it has elapsed in full. */
  #confirm(inode: Inode, picture: Picture, told: boolean): void {
    const { attributes, start } = picture;
    if (start.at >= inode.attributesExpire) this.#counters.revalidated++;
    if (start.at >= inode.windowStart + inode.attributesTimeout) {
      inode.windowStart = start.at;
      inode.attributesTimeout = Math.min(inode.attributesTimeout * 2, this.#maximum(attributes));
    }
    this.#store(inode, picture, told);
  }

  #restartWindow(inode: Inode, picture: Picture, told: boolean): void {
    inode.windowStart = picture.start.at;
    inode.attributesTimeout = this.#minimum(picture.attributes);
    this.#store(inode, picture, told);
  }

  /**
   * A call of ours that changes a name of the object is about to be sent. It moves the object's ctime, and the
   * reply does not say so: the next picture that differs in nothing else shows our own doing.
   */
  expectCtime(inode: Inode): void {
    inode.ctimeMoving = true;
    this.#events.changedHere(inode);
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
    const { attributes, attributesCall: seen } = inode;
    inode.own ??= new OwnChanges(attributes && { attributes, start: LONG_AGO, seen });
    inode.own.active++;
    inode.countContentChange();
    this.#events.changedHere(inode);
  }

  /** The call of {@link beginChange} ended, whatever its status. `wcc` is undefined when no reply came. */
  endChange(inode: Inode, wcc: WccData | undefined, start: CallStart, terms: ChangeTerms = {}): void {
    const own = inode.own;
    if (own === undefined) return;
    const { trusting = false, told = false } = terms;
    own.active--;
    inode.countContentChange();
    this.#events.changedHere(inode);
    const after = wcc?.after;
    if (after === undefined) {
      own.unknown = true;
      // The known attributes are outdated, however long other changes of ours go on.
      this.expire(inode);
    } else {
      this.#serverClock.saw(after.ctime, this.#now());
      if (isAnother(inode, after)) {
        if (own.active === 0) inode.own = undefined;
        this.#events.identityChanged(inode);
        return;
      }
      const picture = { attributes: after, start, seen: this.#calls };
      const { frontier } = own;
      if (frontier !== undefined && start.number > frontier.seen)
        this.#compareClock(frontier.attributes, after);
      const news = own.add(wcc?.before, picture, trusting, inode.ctimeMoving, this.#serverClock.ordered);
      // A directory in which the kernel changed something: it asks for the attributes by itself.
      if (news !== 'held' && own.frontier !== undefined)
        this.#restartWindow(inode, own.frontier, told || inode.isDirectory);
      if (news === 'doubtful') this.expire(inode);
    }
    if (own.active === 0 || own.overdue) this.#settle(inode, own, told);
  }

  #settle(inode: Inode, own: OwnChanges, told: boolean): void {
    const foreign = own.foreignState(this.#serverClock.ordered);
    if (own.active === 0) inode.own = undefined;
    if (own.renamed) inode.ctimeMoving = false;
    if (foreign !== undefined) this.#foreign(inode, foreign.state, told);
    if (own.unknown || foreign?.doubtful) this.expire(inode);
  }

  #foreign(inode: Inode, picture: Picture, told: boolean): void {
    const before = inode.attributes;
    inode.advanceGeneration();
    this.#counters.invalidated++;
    this.#restartWindow(inode, picture, told);
    if (before !== undefined) this.#events.changedByOther(inode, before);
  }

  #store(inode: Inode, { attributes, start, seen }: Picture, told: boolean): void {
    const known = inode.attributes;
    const moved = known !== undefined && !sameOwnership(known, attributes);
    if (
      known !== undefined &&
      (known.mode !== attributes.mode || known.uid !== attributes.uid || known.gid !== attributes.gid)
    ) {
      inode.advanceAccessGeneration();
    }
    inode.attributes = attributes;
    inode.attributesExpire = start.number > inode.doubtedCall ? start.at + inode.attributesTimeout : 0;
    inode.attributesCall = seen;
    if (moved && !told) this.#events.ownershipChanged(inode);
  }

  #minimum(attributes: Fattr3): number {
    if (!this.#config.attributeCache) return 0;
    return attributes.type === FileType.DIR ? this.#config.acDirMinMs : this.#config.acRegMinMs;
  }

  #maximum(attributes: Fattr3): number {
    return attributes.type === FileType.DIR ? this.#config.acDirMaxMs : this.#config.acRegMaxMs;
  }
}

/** Of attributes that came with a call that has ended before any that is under way was started. */
const LONG_AGO: CallStart = { at: 0, number: 0 };

/** A handle that answers for another fileid or type names another object. The root of a mount is a directory. */
function isAnother({ attributes: known, isRoot }: Inode, now: Fattr3): boolean {
  if (known === undefined) return isRoot && now.type !== FileType.DIR;
  return known.fileid !== now.fileid || known.type !== now.type;
}
