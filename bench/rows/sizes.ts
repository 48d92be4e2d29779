/** How much each row does: enough to be measured, or an eighth of it for a quick look. */

const MIB = 1 << 20;

export interface Sizes {
  readonly primeFiles: number;
  /** Of the servers' and the local directory's disk: what three of them store for a row, and room to move. */
  readonly diskBytes: number;
  readonly streamBytes: number;
  readonly blockBytes: number;
  readonly randomFileBytes: number;
  readonly randomOperations: number;
  readonly createdFiles: number;
  readonly treeFiles: number;
  readonly treeFolders: number;
  readonly statFiles: number;
  readonly archiveFiles: number;
  readonly parallelFiles: number;
  readonly repositoryFiles: number;
  readonly packages: number;
  readonly hugeFolder: number;
}

export const FULL: Sizes = {
  primeFiles: 100,
  diskBytes: 5120 * MIB,
  streamBytes: 256 * MIB,
  blockBytes: MIB,
  randomFileBytes: 128 * MIB,
  randomOperations: 20_000,
  createdFiles: 2000,
  treeFiles: 5000,
  treeFolders: 100,
  statFiles: 1000,
  archiveFiles: 1000,
  parallelFiles: 2000,
  repositoryFiles: 2000,
  packages: 200,
  hugeFolder: 50_000,
};

export const QUICK: Sizes = {
  primeFiles: 20,
  diskBytes: 768 * MIB,
  streamBytes: 64 * MIB,
  blockBytes: MIB,
  randomFileBytes: 32 * MIB,
  randomOperations: 4800,
  createdFiles: 600,
  treeFiles: 1250,
  treeFolders: 25,
  statFiles: 500,
  archiveFiles: 250,
  parallelFiles: 512,
  repositoryFiles: 600,
  packages: 50,
  hugeFolder: 12_500,
};

/** With the server far away: the same shapes, and the operations that show how many round trips each waits for. */
export function farther(sizes: Sizes): Sizes {
  const part = (count: number): number => Math.ceil(count / 8);
  return {
    ...sizes,
    streamBytes: sizes.streamBytes / 4,
    randomFileBytes: sizes.randomFileBytes / 4,
    randomOperations: part(sizes.randomOperations),
    createdFiles: part(sizes.createdFiles),
    treeFiles: part(sizes.treeFiles),
    treeFolders: part(sizes.treeFolders),
    statFiles: part(sizes.statFiles),
    archiveFiles: part(sizes.archiveFiles),
    parallelFiles: part(sizes.parallelFiles),
    repositoryFiles: part(sizes.repositoryFiles),
    packages: part(sizes.packages),
    hugeFolder: part(sizes.hugeFolder),
  };
}

/** 10000 -> "10 000". */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+$)/g, ' ');
}
