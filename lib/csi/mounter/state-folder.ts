/**
 * The folder in which a mounter has the states of its mounts, one folder for each mounter. Owns where it is, that others see
 * that it is in use (flock(2)), and what becomes of those that nobody uses any more: a mounter that was killed leaves its folder.
 */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { lockFile } from '../../mount/process/process-calls.js';

const PREFIX = 'nfs-fuse-states-';
const MOST_TRIES = 3;

export class StateFolder {
  private constructor(
    readonly path: string,
    /** The folder itself, locked. */
    private readonly descriptor: number,
  ) {}

  /**
   * Makes a folder of its own in `place`, by default in memory. In a place that is named, the folders of mounters that were killed
   * are removed: their states are of no use without their descriptors.
   * @throws UserError if there is no place
   */
  static open(place: string | undefined): StateFolder {
    const places =
      place === undefined ? ['/dev/shm', process.env.XDG_RUNTIME_DIR ?? '/run', '/tmp'] : [place];
    let failure: unknown;
    for (const one of places) {
      try {
        if (place !== undefined) mkdirSync(one, { recursive: true, mode: 0o700 });
        const made = StateFolder.#makeIn(one);
        if (place !== undefined) removeUnused(one);
        return made;
      } catch (error) {
        failure ??= error;
      }
    }
    throw new UserError(`There is no place for the states of mounts: ${places[0]} (${errorCode(failure)}).`, {
      remedy: 'Name a folder in memory with --state-folder.',
      cause: failure,
    });
  }

  static #makeIn(parent: string): StateFolder {
    for (let tries = 1; ; tries++) {
      const path = mkdtempSync(join(parent, PREFIX));
      const descriptor = openSync(path, 'r');
      // Another mounter that begins now may have found it before it was locked.
      if ((lockFile(descriptor) && existsSync(path)) || tries === MOST_TRIES)
        return new StateFolder(path, descriptor);
      closeSync(descriptor);
    }
  }

  /** `isEmpty`: no mount has its state there any more. */
  close(isEmpty: boolean): void {
    if (isEmpty) rmSync(this.path, { recursive: true, force: true });
    closeSync(this.descriptor);
  }
}

/** Removes the folders that no mounter, and no process of a mount, has locked. */
function removeUnused(parent: string): void {
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    if (name.startsWith(PREFIX) && isUnused(path)) rmSync(path, { recursive: true, force: true });
  }
}

/** Processes of mounts go on without their mounter if that is killed alone, and have their states locked. */
function isUnused(path: string): boolean {
  const descriptors: number[] = [];
  const lock = (file: string): boolean => {
    const descriptor = openSync(file, 'r');
    descriptors.push(descriptor);
    return lockFile(descriptor);
  };
  try {
    return lock(path) && readdirSync(path).every((name) => lock(join(path, name)));
  } catch {
    // It is another user's, or has just been removed.
    return false;
  } finally {
    for (const descriptor of descriptors) closeSync(descriptor);
  }
}
