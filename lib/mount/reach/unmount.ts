/**
 * Unmounting together with the process that serves the mount, so that the caller learns what has become of the data.
 * Owns the three manners: wait until everything is written back, detach and let the process finish, or end it by force;
 * and what remains possible if the process cannot be asked.
 */
import { isRecord } from '../../base/json.js';
import { UserError } from '../../base/user-error.js';
import {
  abortConnection,
  askMount,
  type MountEntry,
  MountError,
  readMountinfo,
  unmountEntry,
} from '../../fuse/index.js';
import { fuseFailure } from '../failure/fuse-failure.js';
import { describeUnwritten, type Unwritten, unwrittenIn } from '../failure/unwritten.js';
import { unlessAborted } from '../waiting.js';
import { lastWords } from './journal.js';
import type { MountControl, MountWatch } from './mount-control.js';
import { describeOtherPlaces, type OtherPlaces, otherPlacesOf } from './other-places.js';

/** While data is written back, the amount is asked for this often. */
const POLL_MS = 500;
/** A longer wait after the unmount is announced. */
const PATIENCE_MS = 2_000;
/** A mount whose process cannot be asked has this time to show that it is not dead. */
const ANSWER_MS = 5_000;
/** A process that was told to give up and has not ended after this time hangs. */
const FORCE_PATIENCE_MS = 60_000;
const CHECK_FILES = 'Check the files that were being written.';

/** A mount that is to be unmounted. */
export interface MountToEnd {
  /** Absolute, without symbolic links. */
  readonly mountpoint: string;
  readonly entry: MountEntry;
  /** Undefined: the process that serves the mount cannot be asked. */
  readonly control: MountControl | undefined;
}

type ReachableMount = MountToEnd & { readonly control: MountControl };

/** The fate of the data of a mount that is not there any more. */
export interface Fate {
  /** Whether all that was written is on the server's stable storage. Undefined: nobody waited for that. */
  readonly writtenBack?: boolean;
  /** Data that is still to be written back. */
  readonly unwritten?: Unwritten;
  /** The other places where it is mounted. Its process goes on for them. */
  readonly stillMounted?: OtherPlaces;
  /** The same in a sentence for people. */
  readonly note?: string;
}

/** Whether the mount is there. Its numbers alone do not tell: the kernel gives free numbers to the next mount at once. */
export async function isThere({ id, minor, mountpoint }: MountEntry): Promise<boolean> {
  const entries = await readMountinfo();
  return entries.some(
    (entry) => entry.id === id && entry.minor === minor && entry.mountpoint.equals(mountpoint),
  );
}

export interface WriteBackOptions {
  /** Gets the data that is not written back yet: once at the beginning, then twice a second. Not called if there is none. */
  pending(unwritten: Unwritten): void;
  /** Ends the waiting and leaves the mount as it is: {@link writeBackFirst} rejects with the signal's reason. */
  readonly signal: AbortSignal;
}

/**
 * Has everything written back while the mount is still there. A user who waits for a server that does not answer sees
 * what data it is about, and can leave the mount as it was. Resolves with a line for each file that lost data.
 * @throws UserError if the process does not answer, or ends meanwhile.
 */
export async function writeBackFirst(
  mount: ReachableMount,
  { pending, signal }: WriteBackOptions,
): Promise<readonly string[]> {
  const { control } = mount;
  const before = await unwrittenOf(control);
  if (before === undefined) throw doesNotAnswer(mount);
  if (before.unwritten.bytes === 0) return [];
  let latest = before;
  pending(latest.unwritten);
  const done = control.writeBack();
  for (;;) {
    const losses = await unlessAborted(Promise.race([done, after(POLL_MS)]), signal);
    if (losses === undefined) throw killedTooEarly();
    if (losses !== 'late') return losses;
    latest = (await unlessAborted(unwrittenOf(control), signal)) ?? latest;
    pending(latest.unwritten);
  }
}

/**
 * Unmounts, and waits until everything is written back. `losses`: the lines of {@link writeBackFirst}. `waiting` is
 * called if that takes long.
 * @throws UserError if data was lost, or if nobody can tell; then also says whether the mount stays.
 */
export async function unmountAndWait(
  mount: ReachableMount,
  losses: readonly string[],
  waiting: () => void,
): Promise<Fate> {
  const watch = await mount.control.watch();
  if (watch === undefined) throw doesNotAnswer(mount);
  try {
    await detach(mount.entry, false);
    return await waitForEnd(mount, { watch, losses, waiting });
  } finally {
    watch.cancel();
  }
}

/**
 * Takes a mount away whose process cannot be asked. Only a dead mount may go: of any other, nobody could say that all
 * data is written.
 */
export async function removeDead({ mountpoint, entry }: MountToEnd): Promise<Fate> {
  if ((await askMount(mountpoint, ANSWER_MS)).state !== 'dead')
    throw new UserError(
      `${mountpoint} stays mounted: the process that serves it cannot be asked, so nobody could tell when everything ` +
        'is written back.',
      {
        remedy:
          'Unmount it as root or as the user who has mounted it, where it was mounted; or add --lazy, which does not wait.',
      },
    );
  await detach(entry, false);
  return {
    note: `${mountpoint} was a dead mount: its process had ended before, and what it had not written back is lost.`,
  };
}

/** Detaches at once. The serving process goes on writing back, as long as it lives. */
export async function detachLazily({ mountpoint, entry, control }: MountToEnd): Promise<Fate> {
  const stats = await unwrittenOf(control);
  await detach(entry, true);
  if (stats === undefined)
    return {
      note: `${mountpoint} is detached; its process cannot be asked whether everything is written back.`,
    };
  const { unwritten, pid } = stats;
  if (unwritten.bytes === 0) return { unwritten };
  return {
    unwritten,
    note: `${mountpoint} is detached; process ${pid} still has to write back ${describeUnwritten(unwritten)}.`,
  };
}

/** Ends the mount without waiting for the server. Throws UserError that names what was lost, if anything was. */
export async function unmountByForce(mount: MountToEnd): Promise<Fate> {
  const { mountpoint, entry, control } = mount;
  const watch = await control?.watch();
  // Only the process itself knows which data it can save, and it can always end its connection.
  if (control === undefined || watch === undefined) return endFromOutside(mount);
  void control.orderToGiveUp();
  const outcome = await Promise.race([watch.ended, after(FORCE_PATIENCE_MS)]);
  watch.cancel();
  if (outcome === 'late') await abortFromOutside(entry);
  await detachIfThere(entry);
  if (outcome === 'late')
    throw new UserError(`${mountpoint} is unmounted, but the process that served it does not end.`, {
      remedy: 'End it with kill -KILL; what it had not written back is lost.',
    });
  if (outcome === undefined) throw killedTooEarly();
  const { lost } = outcome;
  if (lost !== undefined && lost.bytes > 0)
    throw new UserError(`${mountpoint} is unmounted. Lost: ${describeUnwritten(lost)}.`, {
      remedy: 'These files on the server lack what was written last.',
    });
  return { writtenBack: true };
}

/** Resolves when everything is written back: the process has ended, or it goes on for another place of the mount. */
async function waitForEnd(
  { mountpoint, entry, control }: ReachableMount,
  served: { watch: MountWatch; losses: readonly string[]; waiting: () => void },
): Promise<Fate> {
  const { watch, losses, waiting } = served;
  const announce = setTimeout(waiting, PATIENCE_MS);
  const end = await Promise.race([watch.ended, control.unmounted()]);
  clearTimeout(announce);
  if (end === undefined) throw killedTooEarly();
  if ('stillMounted' in end) {
    mustHaveLostNothing(mountpoint, [...losses, ...end.losses], end.untold);
    const stillMounted = await otherPlacesOf(entry);
    const serving = control.peer.pid === 0 ? 'its process' : `process ${control.peer.pid}`;
    const note =
      `${mountpoint} is unmounted, and everything is written back. ${describeOtherPlaces(stillMounted)} ` +
      `Therefore ${serving} goes on.`;
    return { writtenBack: true, stillMounted, note };
  }
  const failure = end.status !== 0 ? [end.message ?? `It failed (${end.status}).`] : [];
  mustHaveLostNothing(mountpoint, [...losses, ...failure], end.untold ?? 0);
  const words = lastWords(mountpoint);
  if (words === undefined) return { writtenBack: true };
  return { writtenBack: true, note: `While it was mounted, there were errors; ${words.path} has them.` };
}

/** `untold`: the number of files that lost data earlier, when no program could be told. Only the log names them. */
function mustHaveLostNothing(mountpoint: string, losses: readonly string[], untold: number): void {
  const all = [...new Set(losses)];
  if (all.length === 0 && untold > 0) {
    const files = untold === 1 ? '1 file' : `${untold} files`;
    const words = lastWords(mountpoint);
    const where = words === undefined ? 'its log names them' : `${words.path} has the messages`;
    all.push(`While ${mountpoint} was mounted, data of ${files} was lost: ${where}.`);
  }
  if (all.length > 0) throw new UserError(all.join('\n          '), { remedy: CHECK_FILES });
}

/** Throws UserError unless the mount was a dead one: otherwise nobody knows what was lost. */
async function endFromOutside(mount: MountToEnd): Promise<Fate> {
  const { mountpoint, entry } = mount;
  if ((await askMount(mountpoint, ANSWER_MS)).state === 'dead') return removeDead(mount);
  if (!(await abortFromOutside(entry)))
    throw new UserError('The process that serves the mount cannot be told to give up.', {
      remedy: "It lives in another namespace, or is another user's: end it from there (kill -KILL).",
    });
  await detachIfThere(entry);
  throw new UserError(
    `${mountpoint} is unmounted by force; its process did not answer, and what it had not written back is lost.`,
    { remedy: CHECK_FILES },
  );
}

/**
 * Aborts the connection without the process that serves it. False: the kernel does not let us. A container often has no
 * /sys/fs/fuse; there, a forced unmount aborts the connection first and then fails because the mount is busy.
 */
async function abortFromOutside(entry: MountEntry): Promise<boolean> {
  if (await abortConnection(entry.minor)) return true;
  try {
    await unmountEntry(entry, { force: true, method: 'direct' });
    return true;
  } catch (error) {
    return error instanceof MountError && error.code === 'busy';
  }
}

async function detach(entry: MountEntry, lazy: boolean): Promise<void> {
  try {
    await unmountEntry(entry, { lazy });
  } catch (error) {
    throw fuseFailure(error, 'See who uses it with "fuser -vm" and end that, or add --lazy.');
  }
}

async function detachIfThere(entry: MountEntry): Promise<void> {
  if (!(await isThere(entry))) return;
  try {
    await detach(entry, true);
  } catch (error) {
    // The process that served it may have been faster.
    if (await isThere(entry)) throw error;
  }
}

/** The part of a mount's counters that unmounting needs. */
interface UnwrittenStats {
  readonly unwritten: Unwritten;
  readonly pid: number;
}

/** Undefined: the process does not answer, or does not tell how much data is unwritten. */
async function unwrittenOf(control: MountControl | undefined): Promise<UnwrittenStats | undefined> {
  const stats = await control?.stats();
  if (!isRecord(stats)) return undefined;
  const unwritten = unwrittenIn(stats.unwritten);
  return unwritten === undefined ? undefined : { unwritten, pid: Number(stats.pid) };
}

function killedTooEarly(): UserError {
  return new UserError('The process that served the mount ended before it had written everything back.', {
    remedy: CHECK_FILES,
  });
}

function doesNotAnswer({ mountpoint, control: { peer } }: ReachableMount): UserError {
  const pid = peer.pid === 0 ? '' : ` ${peer.pid}`;
  return new UserError(
    `${mountpoint} stays mounted: the process${pid} that serves it does not answer, so nobody could tell when ` +
      'everything is written back.',
    { remedy: 'It may be stopped (kill -CONT goes on). --lazy does not wait; --force loses what is left.' },
  );
}

function after(milliseconds: number): Promise<'late'> {
  return new Promise((resolve) => {
    setTimeout(() => resolve('late'), milliseconds).unref();
  });
}
