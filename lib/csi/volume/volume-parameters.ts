/**
 * Parameters of a StorageClass, and attributes of a volume: server, share, subDir, onDelete, mountPermissions and mountOptions,
 * as csi-driver-nfs has them, in any mixture of capitals. Owns what each may be, and the templates in subDir.
 */
import { isIPv6 } from 'node:net';
import { nearestName } from '../../base/nearest-name.js';
import { parseMountTarget } from '../../mount/options/mount-target.js';
import { targetBelow } from '../../volume-parts/folder-target.js';
import { CsiError, reading } from '../wire/csi-error.js';
import type { Texts } from '../wire/csi-messages.js';
import { checkedFolders, checkedShare, DELETE_POLICIES, type DeletePolicy } from './volume-id.js';

const NAMES = ['server', 'share', 'subDir', 'onDelete', 'mountPermissions'];
/** Of the attributes of a volume alone: a StorageClass has a field of its own for it. */
const MOUNT_OPTIONS = 'mountOptions';
/** Parameters of csi-driver-nfs for the owner of a folder. */
const OF_OWNERS = /^(uid|gid)$/i;
/** Templates in subDir, and the attributes from which the provisioner fills them. */
const TEMPLATES: Readonly<Record<string, string>> = {
  '${pvc.metadata.name}': 'csi.storage.k8s.io/pvc/name',
  '${pvc.metadata.namespace}': 'csi.storage.k8s.io/pvc/namespace',
  '${pv.metadata.name}': 'csi.storage.k8s.io/pv/name',
};

export interface VolumeParameters {
  readonly server: string;
  /** Absolute. */
  readonly share: string;
  /** With its templates filled in. Undefined: none is given. */
  readonly subDir: string | undefined;
  readonly onDelete: DeletePolicy | undefined;
  /** Permission bits for the folder. Undefined: as they are. */
  readonly mode: number | undefined;
  /** Texts of -o. */
  readonly mountOptions: readonly string[];
}

/**
 * Reads parameters. `isVolume`: they are the attributes of a volume, not those of a StorageClass.
 * @throws CsiError INVALID_ARGUMENT
 */
export function readParameters(given: Texts, isVolume = false): VolumeParameters {
  const known = isVolume ? [...NAMES, MOUNT_OPTIONS] : NAMES;
  const values = new Map<string, string>();
  for (const [key, value] of Object.entries(given)) {
    // Keys of Kubernetes itself, such as the name of the pod.
    if (key.includes('/')) continue;
    const name = known.find((one) => one.toLowerCase() === key.toLowerCase());
    if (name === undefined) throw unknown(key, known);
    if (value !== '') values.set(name, value);
  }
  const subDir = values.get('subDir');
  const mountOptions = values.get(MOUNT_OPTIONS);
  return {
    server: serverName(needed(values, 'server')),
    share: checkedShare(needed(values, 'share')),
    subDir: subDir === undefined ? undefined : filled(subDir, given),
    onDelete: policyOf(values.get('onDelete')),
    mode: modeOf(values.get('mountPermissions')),
    mountOptions: mountOptions === undefined ? [] : [mountOptions],
  };
}

/** Where a volume is: its export, and the export with the volume's folder, as `nfs-fuse mount` takes them. */
export interface VolumePlace {
  readonly target: string;
  /** The folder below the export. Empty: the export itself. */
  readonly folders: readonly string[];
  readonly mounted: string;
}

/** @throws CsiError INVALID_ARGUMENT for what is no server, or no path */
export function placeOfVolume(server: string, share: string, folders: readonly string[]): VolumePlace {
  const target = `${isIPv6(server) ? `[${server}]` : server}:${share}`;
  const parsed = reading(() => parseMountTarget(target));
  return { target, folders, mounted: folders.length === 0 ? target : targetBelow(parsed, folders) };
}

/** @throws CsiError INVALID_ARGUMENT for a folder that cannot be mounted: its path is too long */
export function checkMountable({ mounted }: VolumePlace): void {
  reading(() => parseMountTarget(mounted));
}

/** The folder that a volume's attributes name. @throws CsiError INVALID_ARGUMENT */
export function foldersOfSubDir(subDir: string | undefined): readonly string[] {
  return subDir === undefined || /^\/*$/.test(subDir) ? [] : checkedFolders(subDir);
}

function unknown(key: string, known: readonly string[]): CsiError {
  if (OF_OWNERS.test(key))
    return new CsiError(
      'INVALID_ARGUMENT',
      `The parameter "${key}" is not supported: folders keep their owner.`,
      {
        remedy: 'Change the owner on the server (chown), or give the pods an fsGroup.',
      },
    );
  const nearest = nearestName(key, known);
  return new CsiError('INVALID_ARGUMENT', `The parameter "${key}" is unknown.`, {
    remedy: nearest === undefined ? `There are ${known.join(', ')}.` : `Did you mean "${nearest}"?`,
  });
}

function needed(values: ReadonlyMap<string, string>, name: string): string {
  const value = values.get(name);
  if (value !== undefined) return value;
  throw new CsiError('INVALID_ARGUMENT', `${name} is a required parameter.`, {
    remedy: 'Name the server in "server", and the path that it exports in "share".',
  });
}

/** An IPv6 address may have brackets. */
function serverName(text: string): string {
  const inside = /^\[(.*)\]$/.exec(text)?.[1];
  return inside !== undefined && isIPv6(inside) ? inside : text;
}

function filled(subDir: string, given: Texts): string {
  let path = subDir;
  for (const [template, key] of Object.entries(TEMPLATES)) {
    if (!path.includes(template)) continue;
    const value = given[key];
    if (value === undefined || value === '')
      throw new CsiError('INVALID_ARGUMENT', `subDir has ${template}, and nobody says what that is.`, {
        remedy: 'Start external-provisioner with --extra-create-metadata, or leave the template out.',
      });
    path = path.replaceAll(template, value);
  }
  const left = /\$\{[^}]*\}/.exec(path)?.[0];
  if (left === undefined) return path;
  throw new CsiError('INVALID_ARGUMENT', `subDir has ${left}, which is unknown.`, {
    remedy: `There are ${Object.keys(TEMPLATES).join(', ')}.`,
  });
}

function policyOf(text: string | undefined): DeletePolicy | undefined {
  if (text === undefined) return undefined;
  const policy = DELETE_POLICIES.find((known) => known === text.toLowerCase());
  if (policy !== undefined) return policy;
  throw new CsiError('INVALID_ARGUMENT', `onDelete=${text} is not one of ${DELETE_POLICIES.join(', ')}.`, {
    remedy: 'Leave it out for delete.',
  });
}

/** csi-driver-nfs: 0 leaves the folder as it is. */
function modeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-7]{1,5}$/.test(text) || Number.parseInt(text, 8) > 0o7777)
    throw new CsiError('INVALID_ARGUMENT', `mountPermissions=${text} is no octal number up to 7777.`, {
      remedy: 'Write the permissions as for chmod, such as "0770"; "0" leaves them as they are.',
    });
  const mode = Number.parseInt(text, 8);
  return mode === 0 ? undefined : mode;
}
