/**
 * The notes that a share has about its volumes: sizes and folders. A folder has no size, but CSI wants a second request of the same
 * name and another size to be refused, also by a driver that was started since; and an id alone does not tell that another volume
 * lies below. A note is a symbolic link in a folder beside the volumes, which is made in one step, with its text or not at all.
 */
import { createHash } from 'node:crypto';
import {
  type FileHandle,
  type FileName,
  FileType,
  fileNameFromText,
  fileNameToText,
  READLINK,
  REMOVE,
  Status,
  SYMLINK,
  statusName,
} from '../../programs/nfs3/index.js';
import { type ExportAccess, type FoundObject, ServerRefusal } from '../../volume-parts/export-access.js';
import { folderNamesOf } from '../../volume-parts/folder-target.js';
import { checkedFolders, NOTES_FOLDER } from '../volume/volume-id.js';
import { CsiError } from '../wire/csi-error.js';
import { eachOf, FolderListing, foundOf } from './folder-listing.js';
import { findFolder } from './volume-folders.js';

/** Nobody but the driver has business there. */
const FOLDER_MODE = 0o700;
const LINK_MODE = 0o777;
/** The digest of a longer name is no longer, and ids that name a note are to be short. */
const MOST_PLAIN = 64;
/** The name of a note in place of that of its volume. */
const DIGEST = /^\+[0-9a-f]{64}$/;
const AT_A_TIME = 16;
/**
 * A server that refuses notes so has no symbolic links, or their folder belongs to another user, or something else has its name.
 * Volumes can do without.
 */
const REFUSALS: ReadonlySet<Status> = new Set([
  Status.PERM,
  Status.ACCES,
  Status.NOTDIR,
  Status.INVAL,
  Status.NAMETOOLONG,
  Status.NOTSUPP,
  Status.BADTYPE,
]);

export interface VolumeNote {
  /** The size for which it was made. 0: for none. */
  readonly bytes: bigint;
  /** Its folder below the share. Undefined: the note does not tell. */
  readonly folders: readonly string[] | undefined;
}

/** A folder that a note names, and the path of the note. */
export interface NotedFolder {
  readonly note: string;
  readonly folders: readonly string[];
}

export class VolumeNotes {
  /** `complain`: hears in a few words why there are no notes. */
  constructor(
    private readonly access: ExportAccess,
    private readonly complain: (why: string) => void,
  ) {}

  /** The note of a volume. Undefined: there is none. */
  of(volume: string): Promise<VolumeNote | undefined> {
    return this.#ifPossible(async () => {
      const folder = await this.#folder();
      return folder && this.#read(folder.handle, volume);
    });
  }

  /**
   * The folder of a volume about which only its note tells. Undefined: there is no such volume.
   * @throws ServerRefusal if the server does not show the note, and CsiError if it tells of no folder
   */
  async folderOf(volume: string): Promise<readonly string[] | undefined> {
    const notes = await this.#folder();
    const found = notes && (await this.access.find(notes.handle, noteName(volume)));
    if (found === undefined) return undefined;
    const path = (await this.#readObject(found))?.folders?.join('/');
    if (path !== undefined) return checkedFolders(path);
    throw new CsiError('FAILED_PRECONDITION', `${notePath(volume)} on the server tells of no folder.`, {
      remedy: 'Remove it, and the folder of the volume, on the server.',
    });
  }

  /**
   * Makes the note of a volume unless it has one. Resolves with the note that there is then, which another driver may have made at
   * the same time; undefined: there are no notes.
   */
  make(
    volume: string,
    note: VolumeNote & { readonly folders: readonly string[] },
  ): Promise<VolumeNote | undefined> {
    return this.#ifPossible(async () => {
      const { handle: root } = this.access.root;
      const folder = await this.access.needFolder(root, fileNameFromText(NOTES_FOLDER), FOLDER_MODE);
      const where = { directory: folder.handle, name: noteName(volume) };
      const target = noteText(volume, note);
      const { status } = await this.access.call(SYMLINK, { where, attributes: { mode: LINK_MODE }, target });
      if (status === Status.OK) return note;
      if (status !== Status.EXIST) throw new ServerRefusal(status, where.name);
      const before = await this.#read(folder.handle, volume);
      if (before === undefined) this.complain('a note cannot be read');
      return before;
    });
  }

  /** Removes the note of a volume that is no more. A refusal only costs the note's room, and a name that nobody takes again. */
  async remove(volume: string): Promise<void> {
    const name = noteName(volume);
    await this.#ifPossible(async () => {
      const folder = await this.#folder();
      if (folder === undefined) return;
      const { status } = await this.access.call(REMOVE, { directory: folder.handle, name });
      if (status !== Status.OK && status !== Status.NOENT) this.complain(statusName(status));
    });
  }

  /** Another volume whose folder lies below the one of this volume. Undefined: none is known. @throws ServerRefusal */
  async below(
    folders: readonly string[],
    volume: string,
    signal: AbortSignal,
  ): Promise<NotedFolder | undefined> {
    const own = noteName(volume);
    const inside = await this.#ifPossible(() => this.#inside(folders, own, signal));
    // A driver without notes may have removed it.
    for (const noted of inside ?? [])
      if ((await findFolder(this.access, noted.folders)) !== undefined) return noted;
    return undefined;
  }

  /** The folders below this one that notes other than `own` name. */
  async #inside(folders: readonly string[], own: FileName, signal: AbortSignal): Promise<NotedFolder[]> {
    const inside: NotedFolder[] = [];
    const notes = await this.#folder();
    if (notes === undefined) return inside;
    for await (const { entries } of new FolderListing(this.access, signal).pages(notes.handle))
      await eachOf(entries, AT_A_TIME, async (entry) => {
        signal.throwIfAborted();
        if (entry.name === own) return;
        const note = await this.#readObject(await foundOf(this.access, notes.handle, entry));
        const theirs = note?.folders ?? [];
        if (theirs.length > folders.length && folders.every((one, at) => one === theirs[at]))
          inside.push({ note: pathOf(entry.name), folders: theirs });
      });
    return inside;
  }

  /** The folder with the notes. */
  #folder(): Promise<FoundObject | undefined> {
    return this.access.findFolder(this.access.root.handle, fileNameFromText(NOTES_FOLDER));
  }

  async #read(folder: FileHandle, volume: string): Promise<VolumeNote | undefined> {
    return this.#readObject(await this.access.find(folder, noteName(volume)));
  }

  /** Undefined: it is no note. */
  async #readObject(found: FoundObject | undefined): Promise<VolumeNote | undefined> {
    if (found?.attributes.type !== FileType.LNK) return undefined;
    const read = await this.access.call(READLINK, { symlink: found.handle });
    return read.status === Status.OK ? noteIn(Buffer.from(read.target).toString()) : undefined;
  }

  /** Undefined: the server refuses notes. */
  async #ifPossible<Value>(work: () => Promise<Value>): Promise<Value | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ServerRefusal) || !REFUSALS.has(error.status)) throw error;
      this.complain(error.why);
      return undefined;
    }
  }
}

/** The path of a volume's note below the share. */
export function notePath(volume: string): string {
  return pathOf(noteName(volume));
}

function pathOf(note: FileName): string {
  return `${NOTES_FOLDER}/${fileNameToText(note)}`;
}

/** Names of volumes may have any character, and those of files may not. A volume may be known by the name of its note alone. */
function noteName(volume: string): FileName {
  const isPlain = (/^\w[\w.-]*$/.test(volume) && volume.length <= MOST_PLAIN) || DIGEST.test(volume);
  return fileNameFromText(isPlain ? volume : `+${createHash('sha256').update(volume).digest('hex')}`);
}

/** The name of the volume is for people who look at the folder. */
function noteText(volume: string, { bytes, folders }: VolumeNote & { readonly folders: readonly string[] }) {
  return Buffer.from(`bytes=${bytes}&name=${encodeURIComponent(volume)}&folder=${folders.join('/')}`);
}

function noteIn(text: string): VolumeNote | undefined {
  const [, digits, folder] = /^bytes=(\d{1,19})(?:&name=[^&]*&folder=(.+))?$/s.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return { bytes: BigInt(digits), folders: folder === undefined ? undefined : folderNamesOf(folder) };
}
