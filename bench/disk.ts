/**
 * The disk that the servers export from and that the local directory is on: an ext4 image of its own, every block
 * of it written before, mounted through a loop device. A virtual machine's disk is slow where nobody has written
 * yet and fast elsewhere, and a shared file system is busy with others; here all subjects meet the same.
 */
import { mkdirSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { exportFolder } from '../test/support/folders.js';
import { mountsOf } from '../test/support/mount.js';
import { mustRun, ProgramFailed, run } from '../test/support/process.js';
import { runLoad } from './load.js';

export interface BenchDisk {
  /** A new folder on the disk. */
  readonly path: string;
  /** How the report explains it. */
  readonly description: string;
  close(): Promise<void>;
}

export interface DiskOptions {
  readonly bytes: number;
  /** load.c's program. */
  readonly load: string;
  /** A folder of the machine's own file system will do. */
  readonly folder: boolean;
  /** Called with what the user should know. */
  note(what: string): void;
}

/** Left free on the file system that holds the image. */
const MARGIN = 1 << 30;
/** Rows make many small files: twice as many inodes as mkfs.ext4 would make. */
const BYTES_PER_INODE = '8192';

/**
 * A commit of the image's journal would have the file system below commit its own, which everything else on the
 * machine uses too. The disk therefore behaves as one whose write cache survives a loss of power.
 */
const NO_BARRIER = 'barrier=0';

/** Makes the disk; where that cannot be, says why and uses a folder of the machine's own file system. */
export async function openDisk({ bytes, load, folder, note }: DiskOptions): Promise<BenchDisk> {
  const scratch = exportFolder();
  const plain = {
    path: scratch.path,
    description: 'a folder of the machine’s file system',
    close: () => scratch.remove(),
  };
  if (folder) return plain;
  try {
    const disk = await mountImage(scratch.path, bytes, load);
    return {
      ...disk,
      async close() {
        if ((await run(['umount', disk.path], { cwd: '/' })).status !== 0) {
          await run(['umount', '-l', disk.path], { cwd: '/' });
        }
        await scratch.remove();
      },
    };
  } catch (error) {
    if (!(error instanceof NoDisk) && !(error instanceof ProgramFailed)) {
      await scratch.remove();
      throw error;
    }
    note(
      `without a disk of its own, results depend on what else ${scratch.path} is used for: ${error.message}`,
    );
    await run(['rm', '-f', join(scratch.path, 'image')]);
    return plain;
  }
}

/** The machine cannot have the disk; the message says what to do. */
class NoDisk extends Error {}

/** Leaves nothing mounted when it fails. */
async function mountImage(folder: string, bytes: number, load: string) {
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < bytes + MARGIN) {
    throw new NoDisk(`${folder} has less than ${(bytes + MARGIN) / (1 << 20)} MiB free`);
  }
  const image = join(folder, 'image');
  const path = join(folder, 'disk');
  mkdirSync(path);
  await runLoad([load, 'fill', image, String(bytes), String(1 << 20)]);
  await makeFileSystem(image);
  const mounted = await run(['mount', '-t', 'ext4', '-o', `loop,${NO_BARRIER}`, image, path]);
  if (mounted.status !== 0) {
    throw new NoDisk(
      `no loop device (${mounted.stderr.toString().trim()}): load the module loop; in a container, pass /dev/loop-control and /dev/loop0.`,
    );
  }
  // The device detaches itself when it is unmounted, however that comes about.
  const device = mountsOf(process.pid).findLast((entry) => entry.path === path)?.source ?? '';
  // Without a second copy of everything in the page cache of the file system below.
  const direct = (await run(['losetup', '--direct-io=on', device])).status === 0;
  return {
    path,
    description:
      `an ext4 image of ${bytes / (1 << 20)} MiB that was written once before, on a loop device` +
      `${direct ? ' with direct I/O' : ''}, without write barriers`,
  };
}

/** The image is all zeros, so that mkfs needs not write (or punch holes) where they are wanted. */
async function makeFileSystem(image: string): Promise<void> {
  const options = ['-q', '-F', '-m', '0', '-i', BYTES_PER_INODE];
  const make = (extended: string) => ['mkfs.ext4', ...options, '-E', `nodiscard,${extended}`, image];
  const made = await run(make('assume_storage_prezeroed=1')).catch(() => undefined);
  if (made === undefined) throw new NoDisk('mkfs.ext4 is missing: install the package e2fsprogs');
  // Before e2fsprogs 1.47.
  if (made.status !== 0) await mustRun(make('lazy_itable_init=0,lazy_journal_init=0'));
}
