/**
 * How much of a long suite is run: NFS_FUSE_TEST_TIER is `fast` in a plain `npm test`, `ci` with --ci, and `all` with --all.
 * A file that is run by its name is run in full.
 */

/** Sizes of a suite. A tier without one has that of the next fuller. */
export interface Sizes<T> {
  readonly fast?: T;
  readonly ci?: T;
  readonly all: T;
}

/** The size that this run asks for. */
export function atTier<T>({ all, ci = all, fast = ci }: Sizes<T>): T {
  switch (process.env.NFS_FUSE_TEST_TIER ?? 'all') {
    case 'fast':
      return fast;
    case 'ci':
      return ci;
    case 'all':
      return all;
    default:
      throw new Error('NFS_FUSE_TEST_TIER is fast, ci or all');
  }
}
