/** Byte-range locks: the table of those that are held and those that wait. */

export { type LockBounds, NO_BOUNDS } from './lock-counts.js';
export {
  conflicts,
  encloses,
  LAST_BYTE,
  type LockOwner,
  type LockRange,
  lengthOf,
  type OwnedLock,
  overlaps,
  type Piece,
  partition,
  rangeOf,
  replaceRange,
  WHOLE_FILE,
} from './lock-range.js';
export { type LockOutcome, LockTable, type TableRules, type Taking } from './lock-table.js';
