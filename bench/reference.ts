/**
 * The reference machine: what fuse-nfs, nfusr, a pass-through FUSE file system and the local disk did on a machine
 * of two cores against nfs-ganesha on loopback (medians of 3), and what nfs-fuse is to reach there. fuse-nfs and
 * nfusr are in no distribution, so they are not measured again; a target is scaled by what the local directory does
 * here and did there.
 */

/** One row's numbers, in the row's unit; undefined where there is none. */
export interface Reference {
  readonly fuseNfs: number | undefined;
  readonly nfusr: number | undefined;
  /** libfuse's passthrough_ll: FUSE without a network. */
  readonly passthrough: number | undefined;
  readonly local: number | undefined;
  /** The target of nfs-fuse, mounted as root. */
  readonly target: number;
  /** The same for a mount in a user namespace, where it differs. */
  readonly rootlessTarget?: number;
  /** A remark beside the numbers. */
  readonly remark?: string;
}

function reference(
  fuseNfs: number,
  nfusr: number,
  passthrough: number | undefined,
  local: number | undefined,
  target: number,
  more: Pick<Reference, 'rootlessTarget' | 'remark'> = {},
): Reference {
  return { fuseNfs, nfusr, passthrough, local, target, ...more };
}

const GIB = 1024;

/** By the rows' ids. */
export const REFERENCE: Readonly<Record<string, Reference>> = {
  write: reference(51, 256, undefined, 393, 300),
  'read-cold': reference(456, 544, 1310, 1222, 700),
  'read-server-warm': reference(1274, 1533, 1528, undefined, 1600, { rootlessTarget: 1000 }),
  'read-again': reference(1083, 1459, 1303, 24 * GIB, 6 * GIB),
  'random-read': reference(16_900, 24_800, 53_000, 74_500, 25_000),
  create: reference(1050, 1830, 4555, 16_000, 1900, { remark: 'fuse-nfs: not durable at close' }),
  unlink: reference(1820, 5770, 11_000, 40_000, 6000),
  'ls-cold': reference(2.2, 0.76, 0.28, 0.12, 0.45),
  'ls-warm': reference(2.1, 0.054, 0.13, 0.05, 0.06),
  'find-cold': reference(2.2, 0.023, 0.08, 0.016, 0.2, { remark: 'nfusr: its caches survive' }),
  'stat-cold': reference(5960, 12_500, 19_000, 110_000, 13_000),
  'stat-warm': reference(498_000, 524_000, 514_000, 592_000, 500_000),
  'open-warm': reference(4460, 5770, 25_000, 323_000, 8000, {
    remark: 'only nfs-fuse asks the server at each open (close-to-open)',
  }),
  untar: reference(5.8, 1.9, 0.67, 0.23, 1.7, { remark: 'fuse-nfs: symbolic links fail' }),
  'tar-cold': reference(1.9, 1, 0.42, 0.15, 0.8),
  rm: reference(1.6, 0.45, 0.23, 0.13, 0.4),
};
