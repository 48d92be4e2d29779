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
