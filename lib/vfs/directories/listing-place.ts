/** Where a listing is, for another process that may have to go on with it. */
import type { NfsTime } from '../../programs/nfs3/index.js';
import type { Position } from './listing-parts.js';

export interface ListingPlace {
  /** Behind the last entry that there ever was. */
  readonly top: number;
  /** How the directory looked when the listing began. Undefined: not known. */
  readonly looked: { readonly mtime: NfsTime; readonly ctime: NfsTime } | undefined;
  /** Entries of which it is known where they are read again from; the last few. */
  readonly marks: readonly { readonly index: number; readonly position: Position }[];
}
