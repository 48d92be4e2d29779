/** The steps at the end of a mount: taking it away from the kernel, and writing back what is left. */
import type { Logger } from '../../base/log.js';
import type { SessionEnd } from '../../fuse/index.js';
import { describeUnwritten, type Unwritten } from '../failure/unwritten.js';
import { sleep } from '../waiting.js';
import type { ConnectedFileSystem } from './connect.js';
import type { ServedMount } from './kernel-transport.js';

/** Programs that still use the mount get this time to finish. `docker stop` kills after 10 s. */
const BUSY_GRACE_MS = 5_000;
/** A longer write-back at the end is announced. */
const SHUTDOWN_PATIENCE_MS = 2_000;
/** After an abort: a server that accepts no data for this long is given up. */
const GIVE_UP_MS = 2_000;

/**
 * Unmounts. Programs that still use the mount get a moment to finish, and errors afterwards. `hint` says how the user
 * can end it at once, as a clause.
 */
export async function takeAway(
  { mount, closed }: ServedMount,
  log: Logger,
  hint: string | undefined,
): Promise<SessionEnd> {
  let detached = false;
  try {
    await mount.unmount();
  } catch {
    detached = true;
    log.warn(
      `${mount.mountpoint} is in use: detached. The programs that use it have ${BUSY_GRACE_MS / 1000} seconds ` +
        `to finish${hint === undefined ? '' : `; ${hint}`}.`,
    );
  }
  if (detached) {
    try {
      await mount.unmount({ lazy: true });
    } catch (error) {
      log.error(error instanceof Error ? error.message : String(error));
    }
  }
  let timer: NodeJS.Timeout | undefined;
  const graceOver = new Promise<SessionEnd>((resolve) => {
    timer = setTimeout(() => {
      // A container that was started meanwhile has a copy of every mount.
      if (!detached) log.warn(`${mount.mountpoint} is mounted in another mount namespace too: ended there.`);
      resolve('unmounted');
    }, BUSY_GRACE_MS);
  });
  try {
    return await Promise.race([closed, graceOver]);
  } finally {
    clearTimeout(timer);
  }
}

/** Ends the connection of a mount that another process made and has to unmount. */
export async function leave({ mount, closed }: ServedMount, log: Logger): Promise<SessionEnd> {
  log.warn(
    `${mount.mountpoint} cannot be unmounted from here: its connection is closed, and programs get errors until ` +
      'the program that has mounted it unmounts it.',
  );
  await mount.unmount();
  return closed;
}

/** Fails every request that waits. Where the kernel does not let us abort, they fail when this process ends. */
export async function endByForce({ mount, closed }: ServedMount): Promise<SessionEnd> {
  const aborted = await mount.abort();
  await mount.unmount({ lazy: true }).catch(() => {});
  return aborted ? closed : 'aborted';
}

/**
 * Writes back what is left and shuts the file system down, however long the server takes. `announce` gets a sentence if
 * that takes long. Once `givingUp` has resolved, waits only as long as data reaches the server.
 * Resolves with the data that was given up. Undefined: none.
 */
export async function writeBackAtEnd(
  fileSystem: ConnectedFileSystem,
  announce: (sentence: string) => void,
  givingUp: Promise<void>,
): Promise<Unwritten | undefined> {
  const done = fileSystem.shutdown().then(() => true);
  const timer = setTimeout(() => {
    const unwritten = fileSystem.unwritten();
    const what = unwritten.bytes > 0 ? `to write back ${describeUnwritten(unwritten)}` : 'to take leave';
    announce(`Waiting for the server ${what}.`);
  }, SHUTDOWN_PATIENCE_MS);
  const inOrder = await Promise.race([done, givingUp.then(() => false)]);
  clearTimeout(timer);
  if (inOrder) return undefined;
  let left = fileSystem.unwritten();
  for (;;) {
    if (await Promise.race([done, sleep(GIVE_UP_MS).then(() => false)])) return undefined;
    const now = fileSystem.unwritten();
    if (now.bytes >= left.bytes) return now;
    left = now;
  }
}
