/**
 * The options of a volume, as users of `docker volume create -o` write them: those of docker's local driver (type, device and
 * o), subdir, and every mount option as one of its own. Owns how they become a target and mount options.
 */
import { UserError } from '../base/user-error.js';
import { grantFlags } from '../mount/options/kernel-flags.js';
import { type MountRequest, parseMountRequest } from '../mount/options/mount-options.js';
import { parseMountTarget } from '../mount/options/mount-target.js';
import { type ListedOption, splitOptionList } from '../mount/options/option-list.js';
import { folderNamesOf, targetBelow } from '../volume-parts/folder-target.js';

/** A volume in the words of `nfs-fuse mount`. */
export interface VolumeSettings {
  /** The export. */
  readonly target: string;
  /** The folder below it that is mounted, as its names. Empty: the export itself. */
  readonly folders: readonly string[];
  /** The target that is mounted: the export with the folder. */
  readonly mounted: string;
  /** Texts for -o: the defaults first, since the last one wins. */
  readonly options: readonly string[];
  /** The same, read. */
  readonly request: MountRequest;
}

const TYPES = new Set(['nfs', 'nfs3', 'nfs-fuse', 'fuse.nfs-fuse']);
/** Options that have no meaning for a mount that a program asks for. The request tells, since a list of options hides names well. */
const OF_THE_COMMAND: readonly {
  readonly option: string;
  readonly instead: string;
  isAsked(request: MountRequest): boolean;
}[] = [
  {
    option: 'bg',
    instead: 'The plugin goes on trying by itself.',
    isAsked: ({ background }) => background,
  },
  {
    option: 'remount',
    instead: 'Remove the volume, and create it with the other options.',
    isAsked: ({ remount }) => remount,
  },
  {
    option: 'debug',
    instead: 'Use "nfs-fuse mount -f --debug=fuse" to look at requests.',
    isAsked: ({ fuse }) => fuse.debug,
  },
];
const EXAMPLE = '-o device=server:/export, or -o type=nfs -o device=:/export -o o=addr=server';

/**
 * Reads the options of one volume. `defaults`: texts of -o that apply to every volume.
 * @throws UserError for options that are unknown, contradict each other, or name no export
 */
export function readVolumeOptions(
  given: Readonly<Record<string, string>>,
  defaults: readonly string[],
): VolumeSettings {
  // podman repeats uid= and gid= of `o` under these names.
  const { type, device, o, subdir, UID: uid, GID: gid, ...others } = given;
  checkType(type);
  const listed = splitOptionList(o ?? '');
  const address = lastValue(listed, 'addr');
  const folders = foldersOf(subdir ?? lastValue(listed, 'subdir') ?? '');
  const own = [
    ...listed.filter(({ name }) => name !== 'addr' && name !== 'subdir'),
    ...Object.entries({ uid, gid })
      .filter(([name, value]) => value !== undefined && listed.every((one) => one.name !== name))
      .map(([name, value]) => ({ name, value })),
    ...Object.entries(others).map(([name, value]) => ({ name, value: value === '' ? undefined : value })),
  ];
  const target = targetOf(device, address);
  const options = [...defaults, ...own.map(asText)];
  const mounted = folders.length === 0 ? target : targetBelow(parseMountTarget(target), folders);
  const request = grantFlags(parseMountRequest(mounted, options));
  for (const { option, instead, isAsked } of OF_THE_COMMAND)
    if (isAsked(request))
      throw new UserError(`The mount option "${option}" is not for volumes.`, { remedy: instead });
  return { target, folders, mounted, options, request };
}

/** The text of -o for one option. */
function asText({ name, value }: ListedOption): string {
  return value === undefined ? name : `${name}=${value.replace(/[\\",]/g, '\\$&')}`;
}

function lastValue(listed: readonly ListedOption[], wanted: string): string | undefined {
  return listed.findLast(({ name, value }) => name === wanted && value !== undefined)?.value;
}

function checkType(type: string | undefined): void {
  if (type === undefined || TYPES.has(type)) return;
  if (/^nfs4/.test(type))
    throw new UserError(`type=${type}: nfs-fuse speaks only NFSv3.`, { remedy: 'Write type=nfs.' });
  throw new UserError(`type=${type} is not a type of nfs-fuse.`, {
    remedy: 'Write type=nfs, or leave it out.',
  });
}

/** `device` is server:/export, or :/export where `address` names the server, as for docker's local driver. */
function targetOf(device: string | undefined, address: string | undefined): string {
  if (device === undefined || device === '')
    throw new UserError('The option device is missing: it names the export.', {
      remedy: `Write ${EXAMPLE}.`,
    });
  const lacksServer = device.startsWith(':') || device.startsWith('/');
  if (!lacksServer) {
    const { host } = parseMountTarget(device);
    if (address !== undefined && address !== host)
      throw new UserError(`device=${device} and addr=${address} name two servers.`, {
        remedy: `Leave one of them out: ${EXAMPLE}.`,
      });
    return device;
  }
  if (address === undefined || address === '')
    throw new UserError(`device=${device} names no server, and there is no addr= in o.`, {
      remedy: `Write ${EXAMPLE}.`,
    });
  const path = device.startsWith(':') ? device.slice(1) : device;
  const host = address.includes(':') && !address.startsWith('[') ? `[${address}]` : address;
  return `${host}:${path}`;
}

/** The names of a folder below the export. @throws UserError for one that leads out of it */
function foldersOf(subdir: string): string[] {
  const names = folderNamesOf(subdir);
  if (names !== undefined) return names;
  throw new UserError(`subdir=${subdir} is not a folder below the export.`, {
    remedy: 'Write names with "/" between them, such as subdir=team/data, without "..".',
  });
}
