/**
 * The seeds of a run: fixed in an ordinary one. NFS_FUSE_MODEL_SEEDS=500 runs that many, starting at
 * NFS_FUSE_MODEL_FIRST (1): a failure names its seed, and NFS_FUSE_MODEL_FIRST=seed NFS_FUSE_MODEL_SEEDS=1 runs it
 * again.
 */

/** `count` seeds, or as many as the environment wants. */
export function seeds(count: number): number[] {
  const wanted = Number(process.env.NFS_FUSE_MODEL_SEEDS ?? count);
  const first = Number(process.env.NFS_FUSE_MODEL_FIRST ?? 1);
  if (!Number.isInteger(wanted) || wanted < 1)
    throw new Error('NFS_FUSE_MODEL_SEEDS is not a number of seeds');
  if (!Number.isInteger(first)) throw new Error('NFS_FUSE_MODEL_FIRST is not a seed');
  return Array.from({ length: wanted }, (_, index) => first + index);
}
