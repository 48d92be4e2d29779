/**
 * The seeds of a run: fixed in an ordinary one. NFS_FUSE_MODEL_SEEDS=500 runs that many, starting at
 * NFS_FUSE_MODEL_FIRST (1): a failure names its seed, and NFS_FUSE_MODEL_FIRST=seed NFS_FUSE_MODEL_SEEDS=1 runs it
 * again.
 */

/** `count` seeds and those of `more`, or what the environment wants. */
export function seeds(count: number, more: readonly number[] = []): number[] {
  const { NFS_FUSE_MODEL_SEEDS, NFS_FUSE_MODEL_FIRST } = process.env;
  const isOrdinary = NFS_FUSE_MODEL_SEEDS === undefined && NFS_FUSE_MODEL_FIRST === undefined;
  const wanted = Number(NFS_FUSE_MODEL_SEEDS ?? count);
  const first = Number(NFS_FUSE_MODEL_FIRST ?? 1);
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new Error('NFS_FUSE_MODEL_SEEDS is not a number of seeds');
  if (!Number.isInteger(first)) throw new Error('NFS_FUSE_MODEL_FIRST is not a seed');
  const range = Array.from({ length: wanted }, (_, index) => first + index);
  return isOrdinary ? [...range, ...more] : range;
}
