/** How long the fuzzers run: fixed in an ordinary run; NFS_FUSE_FUZZ=20 makes it twenty times as much, other seeds. */

const factor = Number(process.env.NFS_FUSE_FUZZ ?? 1);
if (!(factor >= 1)) throw new Error('NFS_FUSE_FUZZ is how many times the usual amount to run, 1 or more');

/** NFS_FUSE_FUZZ_SEED changes the seed. */
export const FUZZ_SEED = Number(process.env.NFS_FUSE_FUZZ_SEED ?? 1);

export function fuzzCases(usual: number): number {
  return Math.floor(usual * factor);
}

/** The largest resident size that this process ever had, in bytes. */
export function peakMemory(): number {
  return process.resourceUsage().maxRSS * 1024;
}
