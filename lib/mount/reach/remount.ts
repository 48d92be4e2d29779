/**
 * `mount -o remount,…`: changes the kernel's flags of an existing mount, as mount(8) asks for it. The options of the serving
 * process cannot be changed. Options that only repeat them are accepted, since mount(8) repeats those of fstab and
 * mountinfo.
 */

import type { LogSink } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import {
  FILE_SYSTEM_TYPE,
  flagsOf,
  type KernelFlag,
  type MountEntry,
  mayMount,
  mountAt,
  readMountinfo,
  remountKernel,
  withWishes,
} from '../../fuse/index.js';
import { fuseFailure } from '../failure/fuse-failure.js';
import { optionsOf } from '../options/kernel-flags.js';
import { IGNORED_OPTIONS } from '../options/mount-option-table.js';
import { KERNELS_OWN, type MountRequest, parseMountRequest } from '../options/mount-options.js';
import { askStats, reachMount } from './mount-control.js';
import { notMounted } from './not-mounted.js';

/** Options for the command that mounts. They mean nothing to the mount. */
const OF_THE_COMMAND = new Set(['remount', 'bg', 'fg', 'retry', 'sloppy']);

/**
 * These flags stay even if mount(8) does not name them: mount.fuse3 adds dev and suid although nobody asked for them, and
 * the kernel keeps its way of updating access times if none is named (mount(2)).
 */
const STAYING: ReadonlySet<KernelFlag> = new Set([
  'nosuid',
  'nodev',
  'noatime',
  'relatime',
  'strictatime',
  'dirsync',
]);

/**
 * Remounts the file system on `mountpoint`, an absolute path without symbolic links. Resolves with the exit status 0.
 * Before a mount becomes read-only, everything that was written is brought to the server. `flagsLeftOut`: whether flags that
 * the request does not name stay or are cleared; mount(8) names every flag that shall hold. `tell` gets the request's notes.
 * @throws UserError if an option cannot be changed, another export is mounted, data was lost, or the kernel refuses.
 */
export async function remount(
  target: string,
  request: MountRequest,
  mountpoint: string,
  flagsLeftOut: 'stay' | 'go',
  tell: LogSink,
): Promise<number> {
  const entry = mountAt(await readMountinfo(), mountpoint);
  if (entry?.type !== FILE_SYSTEM_TYPE) throw await notMounted(mountpoint, entry);
  if (!entry.source.equals(Buffer.from(request.source)))
    throw new UserError(`${mountpoint} is a mount of ${entry.source.toString()}, not of ${request.source}.`, {
      remedy: 'Name what is mounted there.',
    });
  await refuseWhatStays(target, request, entry);
  for (const note of request.notes) tell('warn', note);
  const before = flagsOf(entry);
  const after = withWishes(
    flagsLeftOut === 'stay' ? before : before.filter((flag) => STAYING.has(flag)),
    request.fuse.flags,
  );
  const becomesReadOnly = after.includes('ro') && !before.includes('ro');
  // The kernel would also wait for the server, but could not report losses.
  const losses = becomesReadOnly ? [...(await writtenBack(entry))] : [];
  if (!mayMount() && !sameFlags(before, after))
    throw new UserError(`Remounting ${mountpoint} is not permitted.`, {
      remedy: 'It takes the capability SYS_ADMIN; or unmount it, and mount it again.',
    });
  try {
    remountKernel(entry, after);
  } catch (error) {
    throw fuseFailure(error);
  }
  // Programs that have closed their files meanwhile may have written between the two steps.
  if (becomesReadOnly) losses.push(...(await writtenBack(entry)));
  if (losses.length === 0) return 0;
  throw new UserError([...new Set(losses)].join('\n          '), {
    remedy: 'Check the files that were being written.',
  });
}

function sameFlags(one: readonly KernelFlag[], other: readonly KernelFlag[]): boolean {
  return one.length === other.length && one.every((flag) => other.includes(flag));
}

/** Lines about lost data, or one line if nobody can tell whether there is any. */
async function writtenBack(entry: MountEntry): Promise<readonly string[]> {
  const control = await reachMount(entry);
  try {
    const losses = await control?.writeBack();
    return (
      losses ?? [
        `Whether everything is written back is not known: the process that serves the mount does not answer.`,
      ]
    );
  } finally {
    control?.close();
  }
}

/** @throws UserError that names every option that differs from the options of the mount. */
async function refuseWhatStays(target: string, request: MountRequest, entry: MountEntry): Promise<void> {
  const shown = new Set(`${entry.options},${entry.superOptions}`.split(','));
  const asked = optionsOf(request.options).filter((option) => !shown.has(option));
  const ours = asked.filter((option) => isOurs(target, option));
  const isAsync = request.fuse.flags.sync === false;
  const live = ours.length > 0 || isAsync ? await liveOptions(entry) : [];
  const place = entry.mountpoint.toString();
  if (live === undefined)
    throw new UserError(
      `Whether ${place} was mounted with ${[...ours, ...(isAsync ? ['async'] : [])].join(',')} cannot be found out: ` +
        'the process that serves it does not answer.',
      { remedy: 'Leave these options out.' },
    );
  const present = settings(target, live);
  const fixed = asked.filter((option) => KERNELS_OWN.has(nameOf(option)));
  fixed.push(...ours.filter((option) => settings(target, [...live, option]) !== present));
  // The kernel ignores this flag silently: it is not in MS_RMT_MASK.
  if (request.fuse.flags.dirsync === true && !shown.has('dirsync')) fixed.push('dirsync');
  // The kernel can add synchronous writing. If the serving process itself writes synchronously, it cannot stop that.
  if (isAsync && parseMountRequest(target, live).client.sync) fixed.push('async');
  if (fixed.length === 0) return;
  throw new UserError(`${fixed.join(', ')} cannot be changed while ${place} is mounted.`, {
    remedy: 'Unmount it, and mount it again; remount changes ro, rw and the other flags of the kernel.',
  });
}

/** Whether an option concerns the serving process, and not only the kernel or nobody. */
function isOurs(target: string, option: string): boolean {
  const name = nameOf(option);
  if (OF_THE_COMMAND.has(name) || IGNORED_OPTIONS.has(name) || KERNELS_OWN.has(name) || /^x-/i.test(name))
    return false;
  return Object.keys(parseMountRequest(target, [option]).fuse.flags).length === 0;
}

function nameOf(option: string): string {
  return option.split('=', 1)[0] ?? option;
}

/** The effect of options on the serving process, in a form to compare. */
function settings(target: string, options: readonly string[]): string {
  const { client, fuse, addressFamily } = parseMountRequest(target, options);
  const { readOnly: _ro, retryMs: _retry, sync: _sync, ...others } = client;
  const { flags: _flags, noExec: _exec, ...forFuse } = fuse;
  return JSON.stringify({ ...others, ...forFuse, addressFamily });
}

/** The options of the mount. Undefined: its process cannot be asked. */
async function liveOptions(entry: MountEntry): Promise<readonly string[] | undefined> {
  const stats = await askStats(entry).catch(() => undefined);
  if (typeof stats !== 'object' || stats === null || !('options' in stats)) return undefined;
  return Array.isArray(stats.options) ? stats.options.map(String) : undefined;
}
