/**
 * Removes a folder on a server with all that is in it, by calls of our own. Owns how many of them are under way, and that nothing
 * outside of the folder is touched: symbolic links are removed and not followed, another file system and the notes of a share are
 * left alone.
 */
import {
  type FileHandle,
  type FileName,
  FileType,
  fileNameFromText,
  fileNameToText,
  REMOVE,
  RMDIR,
  Status,
} from '../../programs/nfs3/index.js';
import { type ExportAccess, ServerRefusal } from '../../volume-parts/export-access.js';
import { NOTES_FOLDER } from '../volume/volume-id.js';
import { CsiError } from '../wire/csi-error.js';
import { eachOf, endless, type FolderEntry, FolderListing, foundOf } from './folder-listing.js';

/** The number of calls that remove something and are under way at a time. */
const AT_A_TIME = 8;
/** A folder in which somebody makes something again and again is tried so often. */
const MOST_ATTEMPTS = 3;
/** Listings of one folder, one after the other, of which nothing could be removed because it was gone. */
const MOST_VAIN_LISTINGS = 8;
const NOTES = fileNameFromText(NOTES_FOLDER);

interface Folder {
  readonly parent: FileHandle;
  readonly name: FileName;
  readonly handle: FileHandle;
}

export class TreeRemoval {
  readonly #listing: FolderListing;

  /** `signal`: nobody waits any more; the next removal goes on with what is left. */
  constructor(
    private readonly access: ExportAccess,
    private readonly fsid: bigint,
    private readonly signal: AbortSignal,
  ) {
    this.#listing = new FolderListing(access, signal);
  }

  /** @throws CsiError or ServerRefusal with what cannot be removed */
  async remove(folder: Folder): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.#empty(folder.handle);
      const { status } = await this.access.call(RMDIR, { directory: folder.parent, name: folder.name });
      if (status === Status.OK || status === Status.NOENT) return;
      const isInUse = status === Status.NOTEMPTY || status === Status.EXIST;
      if (!isInUse) throw new ServerRefusal(status, folder.name);
      if (attempt === MOST_ATTEMPTS)
        throw new CsiError('FAILED_PRECONDITION', `Somebody is making files in ${shown(folder.name)}.`, {
          remedy: 'End the programs that use the volume.',
        });
    }
  }

  /** Removes what is in a folder. Cookies may lose their meaning as entries go, so each listing begins anew. */
  async #empty(folder: FileHandle): Promise<void> {
    for (let vain = 0; vain < MOST_VAIN_LISTINGS; ) {
      this.signal.throwIfAborted();
      const { entries, isWhole } = await this.#listing.first(folder);
      await checkNoShare(this.access, folder, entries);
      const folders: Folder[] = [];
      let gone = 0;
      await eachOf(entries, AT_A_TIME, async (entry) => {
        const found = await this.#removeEntry(folder, entry);
        if (found === 'gone') gone += 1;
        else if (found !== 'removed') folders.push(found);
      });
      // One after the other: the depth of a tree must not multiply what is under way, and what is remembered.
      for (const inside of folders) await this.remove(inside);
      if (isWhole) return;
      vain = gone === entries.length ? vain + 1 : 0;
    }
    throw endless();
  }

  /** Removes an entry that is no folder; answers with one that is. */
  async #removeEntry(parent: FileHandle, entry: FolderEntry): Promise<Folder | 'removed' | 'gone'> {
    this.signal.throwIfAborted();
    const { name } = entry;
    const found = await foundOf(this.access, parent, entry);
    if (found === undefined) return 'gone';
    if (found.attributes.type === FileType.DIR) {
      if (found.attributes.fsid === this.fsid) return { parent, name, handle: found.handle };
      throw new CsiError('FAILED_PRECONDITION', `Another file system is mounted at ${shown(name)}.`, {
        remedy: 'Unmount it on the server.',
      });
    }
    const { status } = await this.access.call(REMOVE, { directory: parent, name });
    if (status === Status.OK) return 'removed';
    if (status === Status.NOENT) return 'gone';
    throw new ServerRefusal(status, name);
  }
}

/**
 * A folder with notes in it is the share of other volumes. `entries`: what is known to be in it; by default that is asked.
 * @throws CsiError FAILED_PRECONDITION
 */
export async function checkNoShare(
  access: ExportAccess,
  folder: FileHandle,
  entries: readonly FolderEntry[] = [{ name: NOTES, attributes: undefined, handle: undefined }],
): Promise<void> {
  const notes = entries.find(({ name }) => name === NOTES);
  if (notes === undefined) return;
  const found = await foundOf(access, folder, notes).catch((error: unknown) => {
    // A folder into which the driver may not look can be put aside all the same.
    if (error instanceof ServerRefusal) return undefined;
    throw error;
  });
  if (found?.attributes.type !== FileType.DIR) return;
  throw new CsiError('FAILED_PRECONDITION', 'There are volumes in this folder: it is a share.', {
    remedy: `Delete its volumes first, and then its folder ${NOTES_FOLDER} on the server.`,
  });
}

function shown(name: FileName): string {
  return JSON.stringify(fileNameToText(name));
}
