/**
 * The Controller service: volumes as folders of an export, made and removed by calls of our own NFS client. It mounts nothing,
 * needs no privilege, and remembers nothing by itself: an id says where a volume is, and the share has a note of it.
 */
import type { LogSink } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { parseMountRequest } from '../mount/options/mount-options.js';
import { sleep } from '../mount/waiting.js';
import { textOf } from '../volume-parts/error-text.js';
import { ExportAccess } from '../volume-parts/export-access.js';
import { checkNoShare } from './folders/tree-removal.js';
import { archiveFolder, findFolder, freeBytes, makeFolder, removeFolder } from './folders/volume-folders.js';
import { notePath, type VolumeNote, VolumeNotes } from './folders/volume-notes.js';
import { checkCapabilities, checkOptions, optionsOf } from './volume/volume-capability.js';
import { checkedFolders, formatVolumeId, parseVolumeId, type VolumeId } from './volume/volume-id.js';
import { checkMountable, placeOfVolume, readParameters } from './volume/volume-parameters.js';
import { CallLocks } from './wire/call-locks.js';
import { CsiError, reading } from './wire/csi-error.js';
import {
  type CapacityRange,
  ControllerCan,
  type ControllerExpandVolumeRequest,
  type CreateVolumeRequest,
  type DeleteVolumeRequest,
  type GetCapacityRequest,
  type Texts,
  type ValidateVolumeCapabilitiesRequest,
} from './wire/csi-messages.js';
import { type CsiCalls, csiCall } from './wire/csi-server.js';
import { fittingText, MOST_TEXT_BYTES } from './wire/size-limits.js';

const CAPABILITIES = [
  ControllerCan.CREATE_DELETE_VOLUME,
  ControllerCan.GET_CAPACITY,
  ControllerCan.EXPAND_VOLUME,
  ControllerCan.SINGLE_NODE_MULTI_WRITER,
];
/** The end of a volume whose folder stays waits no longer for its server. */
const NOTE_MS = 5_000;
/** In the secrets of a call, as csi-driver-nfs has it: DeleteVolume is given options in no other way. */
const MOUNT_OPTIONS = 'mountoptions';

export interface ControllerOptions {
  /** Texts of -o for every server. */
  readonly defaults: readonly string[];
  readonly tell: LogSink;
}

export class ControllerService {
  readonly #locks = new CallLocks();
  /** Complaints about notes that the log has already. */
  readonly #complaints = new Set<string>();

  constructor(private readonly options: ControllerOptions) {}

  get calls(): CsiCalls {
    return {
      CreateVolume: csiCall((request: CreateVolumeRequest) => this.#create(request)),
      DeleteVolume: csiCall((request: DeleteVolumeRequest, signal) => this.#delete(request, signal)),
      ValidateVolumeCapabilities: csiCall((request: ValidateVolumeCapabilitiesRequest) =>
        this.#validate(request),
      ),
      GetCapacity: csiCall((request: GetCapacityRequest) => this.#capacity(request)),
      ControllerGetCapabilities: csiCall(() => ({
        capabilities: CAPABILITIES.map((type) => ({ rpc: { type } })),
      })),
      ControllerExpandVolume: csiCall(expand),
    };
  }

  async #create(request: CreateVolumeRequest): Promise<object> {
    const { name, parameters: given, volume_capabilities: capabilities } = request;
    checkName(name);
    checkCapabilities(capabilities);
    if (request.volume_content_source !== null)
      throw new CsiError(
        'INVALID_ARGUMENT',
        'A volume cannot be made from another one, or from a snapshot.',
        {
          remedy: 'Make an empty volume, and copy the data.',
        },
      );
    if (Object.keys(request.mutable_parameters).length > 0)
      throw new CsiError('INVALID_ARGUMENT', 'Volumes have no parameters that can be changed later.');
    const range = readRange(request.capacity_range);
    const { server, share, subDir, onDelete = 'delete', mode } = readParameters(given);
    const folders = checkedFolders(subDir ?? name);
    const volumeId = formatVolumeId({ server, share, folders, name, onDelete }, notePath(name));
    const place = placeOfVolume(server, share, folders);
    checkMountable(place);
    const { target } = place;
    const options = [...optionsOf(capabilities[0]), ...secretOptions(request.secrets)];
    await this.#locks.holding(notePath(name), () =>
      this.#within(target, options, async (access) => {
        const notes = this.#notesOf(access, target);
        const before = await notes.of(name);
        if (before !== undefined) checkSame(name, before, folders, range);
        await makeFolder(access, folders, { mode });
        const bytes = range.required > 0n ? range.required : range.limit;
        const noted = before ?? (await notes.make(name, { bytes, folders }));
        if (noted !== undefined) checkSame(name, noted, folders, range);
        if (volumeId.isByNote && noted?.folders === undefined) throw withoutNote(target);
      }),
    );
    // A folder has no size of its own: 0 is CSI's word for that, and Kubernetes then shows the one that was asked for.
    return {
      volume: {
        capacity_bytes: '0',
        volume_id: volumeId.id,
        volume_context: withSubDir(given, folders.join('/')),
      },
    };
  }

  async #delete({ volume_id: id, secrets }: DeleteVolumeRequest, signal: AbortSignal): Promise<object> {
    checkId(id);
    const volume = parseVolumeId(id);
    // There is no such volume, which is what the caller wants.
    if (volume === undefined) return {};
    const { target } = placeOfVolume(volume.server, volume.share, []);
    const removal = this.#locks.holding(notePath(volume.name), () =>
      this.#within(target, secretOptions(secrets), (access) => this.#remove(volume, access, target, signal)),
    );
    if (volume.onDelete !== 'retain') await removal;
    else {
      // Only a note goes, and the server may be gone for good.
      const noted = removal.catch((error: unknown) =>
        this.options.tell('warn', `${target} may have a note of ${volume.name} still: ${textOf(error)}`),
      );
      await Promise.race([noted, sleep(NOTE_MS)]);
    }
    return {};
  }

  /** @throws CsiError FAILED_PRECONDITION if more than this volume would go */
  async #remove(volume: VolumeId, access: ExportAccess, target: string, signal: AbortSignal): Promise<void> {
    const { name, onDelete } = volume;
    const notes = this.#notesOf(access, target);
    const folders = volume.folders ?? (await notes.folderOf(name));
    if (folders === undefined) return;
    const path = folders.join('/');
    const note = await notes.of(name);
    const isOthers = note?.folders !== undefined && note.folders.join('/') !== path;
    if (onDelete === 'retain') {
      if (note !== undefined && !isOthers) await notes.remove(name);
      return;
    }
    if (isOthers)
      throw new CsiError('FAILED_PRECONDITION', `The folder of ${name} is not ${path} by its note.`, {
        remedy: `Correct the id of the volume; or, if the note is wrong, remove ${notePath(name)} on the server.`,
      });
    const found = await findFolder(access, folders);
    if (found !== undefined) {
      await checkNoShare(access, found.handle);
      const other = await notes.below(folders, name, signal);
      if (other !== undefined)
        throw new CsiError(
          'FAILED_PRECONDITION',
          `Below ${path} is ${other.folders.join('/')}, the folder of another volume.`,
          {
            remedy: `Delete that first; or, if there is no such volume, remove ${other.note} on the server.`,
          },
        );
      if (onDelete === 'archive') await archiveFolder(access, folders);
      else await removeFolder(access, folders, signal);
    }
    await notes.remove(name);
  }

  /** The notes of a share. It is told once why there are none. */
  #notesOf(access: ExportAccess, target: string): VolumeNotes {
    return new VolumeNotes(access, (why) => {
      const complaint = `Without its notes about volumes, ${target} forgets their sizes and places: ${why}.`;
      if (this.#complaints.has(complaint)) return;
      this.#complaints.add(complaint);
      this.options.tell('warn', complaint);
    });
  }

  async #validate(request: ValidateVolumeCapabilitiesRequest): Promise<object> {
    const { volume_id: id, volume_capabilities: capabilities, secrets } = request;
    checkId(id);
    if (capabilities.length === 0) checkCapabilities(capabilities);
    const volume = parseVolumeId(id);
    if (volume === undefined) throw noVolume(id);
    const { target } = placeOfVolume(volume.server, volume.share, []);
    const found = await this.#within(target, secretOptions(secrets), async (access) => {
      const folders = volume.folders ?? (await this.#notesOf(access, target).folderOf(volume.name));
      return folders && findFolder(access, folders);
    });
    if (found === undefined) throw noVolume(id);
    try {
      checkCapabilities(capabilities);
      for (const capability of capabilities)
        reading(() => parseMountRequest(target, [...this.options.defaults, ...optionsOf(capability)]));
    } catch (error) {
      if (error instanceof UserError) return { message: fittingText(error.message) };
      throw error;
    }
    const { volume_context, parameters } = request;
    return { confirmed: { volume_context, volume_capabilities: capabilities, parameters } };
  }

  async #capacity({ parameters, volume_capabilities: capabilities }: GetCapacityRequest): Promise<object> {
    if (capabilities.length > 0) checkCapabilities(capabilities);
    // Without a share there is no place in which a volume could be made.
    if (Object.keys(parameters).length === 0) return { available_capacity: '0' };
    const { server, share } = readParameters(withoutTemplates(parameters));
    const { target } = placeOfVolume(server, share, []);
    const bytes = await this.#within(target, optionsOf(capabilities[0]), freeBytes);
    return { available_capacity: String(bytes > MOST_BYTES ? MOST_BYTES : bytes) };
  }

  /** Reaches an export for the time of `work`. @throws CsiError INVALID_ARGUMENT for wrong options */
  async #within<Value>(
    target: string,
    options: readonly string[],
    work: (access: ExportAccess) => Promise<Value>,
  ): Promise<Value> {
    checkOptions(options);
    const all = [...this.options.defaults, ...options];
    reading(() => parseMountRequest(target, all));
    const access = await ExportAccess.open(target, all);
    try {
      return await work(access);
    } finally {
      // The good-bye may take seconds, and nobody need wait for it.
      void access.close();
    }
  }
}

/** An int64 holds no more. */
const MOST_BYTES = 2n ** 63n - 1n;

interface ReadRange {
  readonly required: bigint;
  /** 0: there is none. */
  readonly limit: bigint;
}

/** @throws CsiError */
function readRange(range: CapacityRange | null): ReadRange {
  const required = BigInt(range?.required_bytes ?? 0);
  const limit = BigInt(range?.limit_bytes ?? 0);
  if (required < 0n || limit < 0n)
    throw new CsiError('INVALID_ARGUMENT', 'A capacity is a number of bytes, and not negative.');
  if (limit > 0n && required > limit)
    throw new CsiError('OUT_OF_RANGE', `A volume of ${required} bytes is larger than the limit of ${limit}.`);
  return { required, limit };
}

/** A volume whose size nobody has asked for fits everything. @throws CsiError ALREADY_EXISTS */
function checkSame(
  name: string,
  { bytes: size, folders: noted }: VolumeNote,
  folders: readonly string[],
  { required, limit }: ReadRange,
): void {
  const path = (noted ?? folders).join('/');
  if (path !== folders.join('/'))
    throw new CsiError('ALREADY_EXISTS', `There is a volume ${name} already, whose folder is ${path}.`, {
      remedy: 'Name that folder in subDir, or take another name.',
    });
  if (size === 0n || (size >= required && (limit === 0n || size <= limit))) return;
  throw new CsiError(
    'ALREADY_EXISTS',
    `There is a volume ${name} already, which was made for ${size} bytes.`,
    {
      remedy: 'Ask for that size, or take another name.',
    },
  );
}

/** A folder has no size, so that a larger one needs nothing. */
function expand({ volume_id: id, capacity_range: range }: ControllerExpandVolumeRequest): object {
  checkId(id);
  if (range === null) throw new CsiError('INVALID_ARGUMENT', 'The request has no capacity.');
  const { required, limit } = readRange(range);
  if (parseVolumeId(id) === undefined) throw noVolume(id);
  return { capacity_bytes: String(required > 0n ? required : limit), node_expansion_required: false };
}

/** Of control characters, CSI allows those of usual white space; names of files are better off without. */
function checkName(name: string): void {
  if (name === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no name for the volume.');
  if (Buffer.byteLength(name) > MOST_TEXT_BYTES || /[\x00-\x1f\x7f-\x9f]/.test(name))
    throw new CsiError(
      'INVALID_ARGUMENT',
      `The name of a volume has at most ${MOST_TEXT_BYTES} bytes, and no control characters.`,
    );
}

function checkId(id: string): void {
  if (id === '') throw new CsiError('INVALID_ARGUMENT', 'The request has no id of a volume.');
}

function withoutNote(target: string): CsiError {
  return new CsiError(
    'INVALID_ARGUMENT',
    `The id of the volume would be longer than the ${MOST_TEXT_BYTES} bytes that CSI allows, and ${target} takes no note of it.`,
    { remedy: 'Write a shorter subDir.' },
  );
}

function noVolume(id: string): CsiError {
  return new CsiError('NOT_FOUND', `There is no volume ${JSON.stringify(id.slice(0, 300))}.`);
}

/** The mount options in the secrets of a call. */
function secretOptions(secrets: Texts): readonly string[] {
  return Object.entries(secrets)
    .filter(([key, value]) => key.toLowerCase() === MOUNT_OPTIONS && value !== '')
    .map(([, value]) => value);
}

/** The parameters as attributes of the volume, with its folder in place of the template. */
function withSubDir(given: Texts, subDir: string): Texts {
  const others = Object.entries(given).filter(([key]) => key.toLowerCase() !== 'subdir');
  return { ...Object.fromEntries(others), subDir };
}

/** For questions about the share alone, whose subDir may have templates that nobody has filled yet. */
function withoutTemplates(parameters: Texts): Texts {
  return Object.fromEntries(Object.entries(parameters).filter(([key]) => key.toLowerCase() !== 'subdir'));
}
