/**
 * Inline volumes, which CSI calls ephemeral: a pod describes its volume itself, so the attributes are the words of anybody who may
 * make a pod. Owns what such words may ask for.
 */
import { IGNORED_OPTIONS } from '../../mount/options/mount-option-table.js';
import { splitOptionList } from '../../mount/options/option-list.js';
import { CsiError, reading } from '../wire/csi-error.js';
import type { Texts } from '../wire/csi-messages.js';
import type { VolumeParameters } from './volume-parameters.js';

/** safe: with the options below. any: as other volumes. none: there are none. */
export type InlinePolicy = 'safe' | 'any' | 'none';

/** The kubelet writes this key itself, over one of the pod's. */
const EPHEMERAL = 'csi.storage.k8s.io/ephemeral';

/**
 * With these a pod changes its own mount and nothing else: no identity at the server, no memory or disk of the node, no setuid
 * programs, no label.
 */
const SAFE_OPTIONS: ReadonlySet<string> = new Set(
  [
    'ro rw sync async dirsync exec noexec nosuid nodev symfollow nosymfollow',
    'atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime',
    'hard soft softerr timeo retrans',
    'proto tcp udp port mountport nlmport rquotaport nconnect resvport noresvport vers nfsvers mountvers sec',
    'rsize wsize ac noac actimeo acregmin acregmax acdirmin acdirmax cto nocto lookupcache rdirplus nordirplus',
    'lock nolock local_lock locklost quotadf noquotadf',
  ].flatMap((names) => names.split(' ')),
);

/** Whether a pod has described the volume with these attributes itself. */
export function isInline(context: Texts): boolean {
  return context[EPHEMERAL] === 'true';
}

/**
 * Whether an inline volume is a stranger's, whose words change nothing on the server. `options`: the texts of -o that it brings.
 * @throws CsiError INVALID_ARGUMENT for what the policy does not allow
 */
export function checkInline(
  policy: InlinePolicy,
  { mode }: Pick<VolumeParameters, 'mode'>,
  options: readonly string[],
): boolean {
  if (policy === 'any') return false;
  if (policy === 'none')
    throw new CsiError('INVALID_ARGUMENT', 'This driver takes no inline volumes.', { remedy: INSTEAD });
  if (mode !== undefined)
    throw new CsiError('INVALID_ARGUMENT', 'mountPermissions is not for inline volumes.', {
      remedy: INSTEAD,
    });
  for (const { name } of reading(() => options.flatMap(splitOptionList)))
    if (!SAFE_OPTIONS.has(name) && !IGNORED_OPTIONS.has(name) && !/^x-/i.test(name))
      throw new CsiError('INVALID_ARGUMENT', `The mount option "${name}" is not for inline volumes.`, {
        remedy: INSTEAD,
      });
  return true;
}

const INSTEAD =
  'Write a PersistentVolume, or start the driver with --inline-volumes=any if you trust all pods.';
