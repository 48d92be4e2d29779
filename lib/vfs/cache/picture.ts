/**
 * A picture of an object: the attributes of one reply, with what is known of when the server took them. Owns the
 * rule that puts two pictures in order.
 */
import { compareTime, type Fattr3, type WccAttributes } from '../../programs/nfs3/index.js';

/** When a call was started, in time and in order. Taken before it is sent. */
export interface CallStart {
  readonly at: number;
  readonly number: number;
}

export interface Picture {
  readonly attributes: Fattr3;
  /** The call whose reply this is. */
  readonly start: CallStart;
  /** The newest call that had been started when the reply came: what is started later sees the object later. */
  readonly seen: number;
}

/** `unclear`: the two calls overlapped, and the ctimes do not settle it. */
export type Order = 'newer' | 'older' | 'unclear';

/** Whether two pictures of an object show the same state, as far as wcc data can tell. */
export function sameState(a: WccAttributes, b: WccAttributes): boolean {
  return compareTime(a.ctime, b.ctime) === 0 && a.size === b.size && compareTime(a.mtime, b.mtime) === 0;
}

/** Whether two pictures show the same state in everything that an application or the kernel goes by. */
export function samePicture(a: Fattr3, b: Fattr3): boolean {
  return sameState(a, b) && sameOwnership(a, b);
}

/** Whether mode, owner, group and link count are the same. They can change within one tick of the server's clock. */
export function sameOwnership(a: Fattr3, b: Fattr3): boolean {
  return a.mode === b.mode && a.uid === b.uid && a.gid === b.gid && a.nlink === b.nlink;
}

/**
 * How `picture` stands to `known`, which came earlier. A call that was started after `known` was complete shows the
 * object as it is later, whatever the ctimes say: servers round them, and their clocks are stepped back. Only where
 * the calls overlapped do the ctimes decide, and not even then if `ordered` is false, because ctimes of this server
 * are known to go back, or if one of the two looks like the other rounded down to whole seconds.
 */
export function orderOf(picture: Picture, known: Picture, ordered: boolean): Order {
  if (picture.start.number > known.seen) return 'newer';
  if (known.start.number > picture.seen) return 'older';
  return byCtime(picture.attributes, known.attributes, ordered);
}

/** As {@link orderOf}, of two pictures whose calls overlapped. */
export function byCtime(picture: Fattr3, known: Fattr3, ordered: boolean): Order {
  if (!ordered) return 'unclear';
  const { ctime } = picture;
  const rounded = ctime.nanoseconds === 0 || known.ctime.nanoseconds === 0;
  if (rounded && ctime.seconds === known.ctime.seconds) return 'unclear';
  const order = compareTime(ctime, known.ctime);
  if (order === 0) return 'unclear';
  return order > 0 ? 'newer' : 'older';
}
