/** Ranges of bytes, and the locks of one owner on one file: replaced, split and merged as fcntl(2) has it. */

/**
 * The last byte that can be locked: offsets are signed (off_t). A range that ends here reaches to the end of the file,
 * however long that grows.
 */
export const LAST_BYTE = (1n << 63n) - 1n;

export interface LockRange {
  readonly start: bigint;
  /** Its last byte. */
  readonly end: bigint;
}

export const WHOLE_FILE: LockRange = { start: 0n, end: LAST_BYTE };

export interface LockOwner {
  /** Two owners with the same key are one. */
  readonly key: string;
  /** Owners of one group share the bounds of the table. */
  readonly group: string;
}

export interface OwnedLock<Owner extends LockOwner> extends LockRange {
  readonly owner: Owner;
  /** Otherwise shared. */
  readonly exclusive: boolean;
}

/** The range of so many bytes, 0 for all to the end. Undefined: it has bytes that cannot be locked. */
export function rangeOf(offset: bigint, length: bigint): LockRange | undefined {
  const end = length === 0n ? LAST_BYTE : offset + length - 1n;
  return offset > LAST_BYTE || end > LAST_BYTE ? undefined : { start: offset, end };
}

/** The inverse of {@link rangeOf}: 0 for a range to the end. */
export function lengthOf({ start, end }: LockRange): bigint {
  return end === LAST_BYTE ? 0n : end - start + 1n;
}

export function overlaps(one: LockRange, other: LockRange): boolean {
  return one.start <= other.end && other.start <= one.end;
}

/** Whether the one has all bytes of the other. */
export function encloses(one: LockRange, other: LockRange): boolean {
  return one.start <= other.start && one.end >= other.end;
}

/** Whether the one keeps the other from being granted. */
export function conflicts<Owner extends LockOwner>(one: OwnedLock<Owner>, other: OwnedLock<Owner>): boolean {
  return (one.exclusive || other.exclusive) && overlaps(one, other) && one.owner.key !== other.owner.key;
}

/** Whether both mean the same request: that of one owner, for the same bytes in the same way. */
export function isSameLock<Owner extends LockOwner>(one: OwnedLock<Owner>, other: OwnedLock<Owner>): boolean {
  return (
    one.start === other.start &&
    one.end === other.end &&
    one.exclusive === other.exclusive &&
    one.owner.key === other.owner.key
  );
}

/**
 * The locks of one owner after `range` was unlocked, or locked as `put` says. They are sorted, do not overlap, and
 * neighbours of one kind are one lock.
 */
export function replaceRange<Owner extends LockOwner>(
  locks: readonly OwnedLock<Owner>[],
  range: LockRange,
  put?: OwnedLock<Owner>,
): OwnedLock<Owner>[] {
  const result: OwnedLock<Owner>[] = [];
  let { start, end } = range;
  for (const lock of locks) {
    if (put?.exclusive === lock.exclusive && lock.start <= range.end + 1n && range.start <= lock.end + 1n) {
      if (lock.start < start) start = lock.start;
      if (lock.end > end) end = lock.end;
    } else if (overlaps(lock, range)) {
      if (lock.start < range.start) result.push({ ...lock, end: range.start - 1n });
      if (lock.end > range.end) result.push({ ...lock, start: range.end + 1n });
    } else result.push(lock);
  }
  if (put !== undefined) {
    const after = result.findIndex((lock) => lock.start > start);
    result.splice(after < 0 ? result.length : after, 0, { ...put, start, end });
  }
  return result;
}

/** As {@link replaceRange} for a lock, but one that never makes what is held weaker: exclusive locks stay exclusive. */
export function strengthenRange<Owner extends LockOwner>(
  locks: readonly OwnedLock<Owner>[],
  put: OwnedLock<Owner>,
): readonly OwnedLock<Owner>[] {
  let result: readonly OwnedLock<Owner>[] = replaceRange(locks, put, put);
  if (put.exclusive) return result;
  for (const { lock } of partition(locks, put))
    if (lock?.exclusive) result = replaceRange(result, lock, lock);
  return result;
}

/** A piece of a range: under one lock, cut to the range, or under none. */
export interface Piece<Owner extends LockOwner> {
  readonly range: LockRange;
  readonly lock: OwnedLock<Owner> | undefined;
}

/** The range in pieces, in order, by the locks of one owner as {@link replaceRange} leaves them. */
export function partition<Owner extends LockOwner>(
  locks: readonly OwnedLock<Owner>[],
  range: LockRange,
): readonly Piece<Owner>[] {
  const pieces: Piece<Owner>[] = [];
  let { start } = range;
  for (const lock of locks) {
    if (!overlaps(lock, range)) continue;
    if (lock.start > start) pieces.push({ range: { start, end: lock.start - 1n }, lock: undefined });
    const within = { start: lock.start, end: lock.end };
    if (within.start < range.start) within.start = range.start;
    if (within.end > range.end) within.end = range.end;
    pieces.push({ range: within, lock: { ...lock, ...within } });
    start = within.end + 1n;
  }
  if (start <= range.end) pieces.push({ range: { start, end: range.end }, lock: undefined });
  return pieces;
}
