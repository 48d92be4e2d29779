/** Scratch folders of tests, on a file system that nfs-ganesha can export. */
import { chmodSync, mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from './process.js';
import { projectRoot } from './project.js';
import { registerFolder } from './registry.js';

/**
 * Magic numbers of statfs(2) of file systems that open_by_handle_at(2) works on, as FSAL_VFS needs it; it does
 * not on overlay and FUSE. In this order of preference: ext2-4, xfs, btrfs, tmpfs.
 */
const EXPORTABLE = [0xef53, 0x58465342, 0x9123683e, 0x01021994];

function exportableParent(): string {
  const candidates = [tmpdir(), '/var/tmp', projectRoot, '/dev/shm'];
  for (const magic of EXPORTABLE) {
    for (const path of candidates) {
      // The kernel's long is signed: btrfs reads as a negative number.
      if (statfsSync(path).type >>> 0 === magic) return path;
    }
  }
  throw new Error(
    `none of ${candidates.join(', ')} is on ext4, xfs, btrfs or tmpfs, which nfs-ganesha can export`,
  );
}

export interface ScratchFolder {
  readonly path: string;
  remove(): Promise<void>;
}

function make(parent: string, what: string): ScratchFolder {
  const path = mkdtempSync(join(parent, `nfs-fuse-${what}-`));
  chmodSync(path, 0o755);
  const forget = registerFolder(path);
  return {
    path,
    async remove() {
      await run(['rm', '-rf', '--one-file-system', path]);
      forget();
    },
  };
}

/** A folder that nfs-ganesha can export. */
export function exportFolder(): ScratchFolder {
  return make(exportableParent(), 'export');
}

/** A folder that every user can reach. */
export function publicFolder(): ScratchFolder {
  return make(tmpdir(), 'test');
}
