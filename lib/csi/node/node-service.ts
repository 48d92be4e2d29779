/**
 * The Node service: volumes are mounted where the kubelet wants them. It remembers nothing: the mount table says what is
 * published. A server that is dead delays the calls for its own volumes, and no others.
 */
import type { LogSink } from '../../base/log.js';
import { UserError } from '../../base/user-error.js';
import { FILE_SYSTEM_TYPE, type MountEntry, usageWithin } from '../../fuse/index.js';
import { parseMountRequest } from '../../mount/options/mount-options.js';
import { textOf } from '../../volume-parts/error-text.js';
import { ExportAccess, type ServerRefusal } from '../../volume-parts/export-access.js';
import { adaptFolder, type FolderWishes, findFolder } from '../folders/volume-folders.js';
import { checkInline, type InlinePolicy, isInline } from '../volume/inline-volumes.js';
import { checkCapability, checkOptions, isReadOnly } from '../volume/volume-capability.js';
import {
  foldersOfSubDir,
  placeOfVolume,
  readParameters,
  type VolumePlace,
} from '../volume/volume-parameters.js';
import { CallLocks } from '../wire/call-locks.js';
import { CsiError, reading } from '../wire/csi-error.js';
import {
  NodeCan,
  type NodeExpandVolumeRequest,
  type NodeGetVolumeStatsRequest,
  type NodePublishVolumeRequest,
  type NodeUnpublishVolumeRequest,
  UsageUnit,
} from '../wire/csi-messages.js';
import { type CsiCalls, csiCall } from '../wire/csi-server.js';
import type { Mounting, MountWishes } from './mounting.js';
import { PublishTarget } from './publish-target.js';

const CAPABILITIES = [
  NodeCan.GET_VOLUME_STATS,
  NodeCan.VOLUME_CONDITION,
  NodeCan.SINGLE_NODE_MULTI_WRITER,
  NodeCan.VOLUME_MOUNT_GROUP,
];
/** A file system that gives no numbers within this time counts as not well. */
const STATS_MS = 5_000;
/** At most so many mounts, one on top of the other, are taken away. */
const MOST_LAYERS = 16;

export interface NodeOptions {
  readonly nodeId: string;
  /** Texts of -o for every volume; its own come after them. */
  readonly defaults: readonly string[];
  readonly mounting: Mounting;
  /** The inline volumes that pods may have. */
  readonly inline: InlinePolicy;
  readonly tell: LogSink;
}

/** A volume to publish. */
interface Wanted extends MountWishes {
  readonly place: VolumePlace;
  readonly folder: FolderWishes;
  readonly isReadOnly: boolean;
}

export class NodeService {
  /** By targets: whatever the ids are, two volumes must not go to one place at the same time. */
  readonly #locks = new CallLocks();

  constructor(private readonly options: NodeOptions) {}

  get calls(): CsiCalls {
    return {
      NodePublishVolume: csiCall((request: NodePublishVolumeRequest, signal) =>
        this.#publish(request, signal),
      ),
      NodeUnpublishVolume: csiCall((request: NodeUnpublishVolumeRequest, signal) =>
        this.#unpublish(request, signal),
      ),
      NodeGetVolumeStats: csiCall(stats),
      NodeExpandVolume: csiCall(expand),
      NodeGetCapabilities: csiCall(() => ({ capabilities: CAPABILITIES.map((type) => ({ rpc: { type } })) })),
      NodeGetInfo: csiCall(() => ({ node_id: this.options.nodeId })),
    };
  }

  async #publish(request: NodePublishVolumeRequest, signal: AbortSignal): Promise<object> {
    checkVolume(request);
    const wanted = this.#wanted(request);
    const target = await PublishTarget.in(request.target_path, 'target_path');
    await this.#locks.holding(target.path, async () => {
      const present = await target.ownEntry();
      if (present !== undefined && !(await target.isDead(present))) return checkSame(target, present, wanted);
      const wasMounted = await this.#takeDeadAway(target);
      await this.#settled(target, signal);
      await this.#adapt(wanted);
      signal.throwIfAborted();
      const isOurs = target.make() || wasMounted;
      try {
        await this.options.mounting.make(target, wanted, signal);
        await checkMounted(target, wanted);
      } catch (error) {
        // The folder alone would be a place on this machine's own disk.
        if (isOurs) await target.abandon();
        throw error;
      }
    });
    return {};
  }

  async #unpublish(
    { volume_id: id, target_path: path }: NodeUnpublishVolumeRequest,
    signal: AbortSignal,
  ): Promise<object> {
    if (id === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no id of a volume.');
    const target = await PublishTarget.at(path, 'target_path');
    if (target === undefined) return {};
    await this.#locks.holding(target.path, async () => {
      for (let layer = 0; layer < MOST_LAYERS; layer++) {
        const entry = await target.ownEntry();
        if (entry === undefined) break;
        if (await target.isDead(entry)) {
          this.options.tell('warn', `${target.path} was a dead mount: what it had not written back is lost.`);
          await target.takeAway(entry);
        } else await this.options.mounting.end(target, entry, signal);
      }
      await target.takeAwayCopies();
      await this.options.mounting.settled(target, signal);
      target.remove();
    });
    return {};
  }

  /** The mount that is asked for. @throws CsiError INVALID_ARGUMENT, in the words of the command line */
  #wanted(request: NodePublishVolumeRequest): Wanted {
    const capability = checkCapability(request.volume_capability);
    const { mount_flags: flags = [], volume_mount_group: group = '' } = capability.mount ?? {};
    const { volume_context: context } = request;
    const { server, share, subDir, mode, mountOptions } = readParameters(context, true);
    const folders = foldersOfSubDir(subDir);
    const place = placeOfVolume(server, share, folders);
    const readOnly = request.readonly || isReadOnly(capability);
    checkOptions([...flags, ...mountOptions]);
    const options = [
      // Pods have users of their own.
      'allow_other',
      ...this.options.defaults,
      ...flags,
      ...mountOptions,
      ...(readOnly ? ['ro'] : []),
      ...(group === '' ? [] : [`groups=${group}`]),
    ];
    const mountRequest = reading(() => parseMountRequest(place.mounted, options));
    const isStrangers =
      isInline(context) && checkInline(this.options.inline, { mode }, [...flags, ...mountOptions]);
    for (const note of mountRequest.notes) this.options.tell('warn', `${place.mounted}: ${note}`);
    const { readOnly: isRead } = mountRequest.client;
    // The folder of a volume becomes the group's. An export as a whole is for its server to say, and so is a folder that a pod names.
    const members = group === '' || folders.length === 0 || isStrangers ? undefined : Number(group);
    return {
      place,
      mounted: place.mounted,
      options,
      request: mountRequest,
      folder: { mode, group: members },
      isReadOnly: isRead,
    };
  }

  /** Takes away all dead mounts at the target, and their copies. Resolves with whether there was one. */
  async #takeDeadAway(target: PublishTarget): Promise<boolean> {
    let layer = 0;
    for (; layer < MOST_LAYERS; layer++) {
      const entry = await target.ownEntry();
      if (entry === undefined || !(await target.isDead(entry))) break;
      this.options.tell('warn', `${target.path} is a dead mount. It is mounted again.`);
      await target.takeAway(entry);
    }
    await target.takeAwayCopies();
    return layer > 0;
  }

  /** Waits for an earlier mount here. Its losses are no matter of the next one. */
  async #settled(target: PublishTarget, signal: AbortSignal): Promise<void> {
    try {
      await this.options.mounting.settled(target, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      this.options.tell('error', textOf(error));
    }
  }

  /**
   * Gives the folder of the volume its permissions, and its group. The group alone is no condition: its members may have the right
   * all the same.
   */
  async #adapt(wanted: Wanted): Promise<void> {
    const { place, folder, isReadOnly } = wanted;
    if (isReadOnly || (folder.mode === undefined && folder.group === undefined)) return;
    let refusal: unknown;
    try {
      refusal = await this.#adaptOnServer(wanted);
    } catch (error) {
      if (folder.mode !== undefined || error instanceof CsiError || !(error instanceof UserError))
        throw error;
      refusal = error;
    }
    if (refusal !== undefined)
      this.options.tell('warn', `${place.mounted} stays with its group: ${textOf(refusal)}`);
  }

  /** Resolves with the server's refusal of the group. @throws UserError */
  async #adaptOnServer({ place, options, folder }: Wanted): Promise<ServerRefusal | undefined> {
    const access = await ExportAccess.open(place.target, options);
    try {
      const found = await findFolder(access, place.folders);
      if (found === undefined)
        throw new CsiError(
          'NOT_FOUND',
          `The share ${place.target} has no folder ${place.folders.join('/')}.`,
        );
      return await adaptFolder(access, found, folder);
    } finally {
      void access.close();
    }
  }
}

function checkVolume({ volume_id: id, target_path: path }: NodePublishVolumeRequest): void {
  if (id === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no id of a volume.');
  if (path === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no target_path.');
}

/**
 * Believes the mount table alone: a folder that is not mounted is a place on this machine's own disk.
 * @throws CsiError if what is wanted is not mounted
 */
async function checkMounted(target: PublishTarget, wanted: Wanted): Promise<void> {
  const made = await target.ownEntry();
  if (made === undefined)
    throw new CsiError(
      'INTERNAL',
      `${wanted.mounted} is said to be mounted, and ${target.path} is no mount.`,
      {
        remedy: 'Look into the log of the driver, or of the mounter, for the end of its process.',
      },
    );
  checkSame(target, made, wanted);
}

/** @throws CsiError ALREADY_EXISTS if something else than what is wanted is mounted */
function checkSame(target: PublishTarget, present: MountEntry, wanted: Wanted): void {
  const source = present.source.toString();
  const isRead = [...present.options.split(','), ...present.superOptions.split(',')].includes('ro');
  if (source === wanted.request.source && isRead === wanted.isReadOnly) return;
  throw new CsiError(
    'ALREADY_EXISTS',
    `${source} is mounted on ${target.path} already, ${isRead ? 'read-only' : 'writable'}.`,
    { remedy: 'Unpublish that first.' },
  );
}

async function stats({ volume_id: id, volume_path: path }: NodeGetVolumeStatsRequest): Promise<object> {
  if (id === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no id of a volume.');
  const target = await PublishTarget.at(path, 'volume_path');
  const entry = await target?.entry();
  if (target === undefined || entry?.type !== FILE_SYSTEM_TYPE)
    throw new CsiError('NOT_FOUND', `No volume is published at ${path.slice(0, 300)}.`);
  const usage = await usageWithin(target.path, STATS_MS);
  if ('state' in usage) {
    const why =
      usage.state === 'dead'
        ? 'The process that served the mount has died. Publishing it again mounts it anew.'
        : usage.state === 'silent'
          ? 'The server does not answer.'
          : `The mount answers with an error (${usage.errno}).`;
    return { usage: [], volume_condition: { abnormal: true, message: why } };
  }
  const { totalBytes, freeBytes, availableBytes, totalFiles, freeFiles } = usage;
  return {
    usage: [
      {
        unit: UsageUnit.BYTES,
        total: String(totalBytes),
        available: String(availableBytes),
        used: String(totalBytes - freeBytes),
      },
      {
        unit: UsageUnit.INODES,
        total: String(totalFiles),
        available: String(freeFiles),
        used: String(totalFiles - freeFiles),
      },
    ],
    volume_condition: { abnormal: false, message: 'The mount answers.' },
  };
}

/** A folder has no size, so that a larger one needs nothing. */
async function expand(request: NodeExpandVolumeRequest): Promise<object> {
  if (request.volume_id === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no id of a volume.');
  const target = await PublishTarget.at(request.volume_path, 'volume_path');
  if ((await target?.entry())?.type !== FILE_SYSTEM_TYPE)
    throw new CsiError('NOT_FOUND', `No volume is published at ${request.volume_path.slice(0, 300)}.`);
  return { capacity_bytes: request.capacity_range?.required_bytes ?? '0' };
}
