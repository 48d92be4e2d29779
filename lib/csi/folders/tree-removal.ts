/**
 * Removes a folder on a server with all that is in it, by calls of our own. Owns how many of them are under way, and that nothing
 * outside of the folder is touched: symbolic links are removed and not followed, and another file system is left alone.
 */
import {
  COOKIE_VERIFIER_SIZE,
  type Fattr3,
  type FileHandle,
  type FileName,
  FileType,
  fileNameToText,
  isDots,
  READDIR,
  READDIRPLUS,
  REMOVE,
  RMDIR,
  Status,
} from '../../programs/nfs3/index.js';
import { type ExportAccess, ServerRefusal } from '../../volume-parts/export-access.js';
import { CsiError } from '../wire/csi-error.js';

/** The number of calls that remove something and are under way at a time. */
const AT_A_TIME = 8;
/** A folder in which somebody makes something again and again is tried so often. */
const MOST_ATTEMPTS = 3;
const MOST_LISTED_BYTES = 128 * 1024;
/** In a listing with attributes, the names are a small part. */
const NAMES_PART = 4;

interface ListedEntry {
  readonly name: FileName;
  readonly attributes: Fattr3 | undefined;
  readonly handle: FileHandle | undefined;
}

interface Folder {
  readonly parent: FileHandle;
  readonly name: FileName;
  readonly handle: FileHandle;
}

export class TreeRemoval {
  #withAttributes = true;

  /** `signal`: nobody waits any more; the next removal goes on with what is left. */
  constructor(
    private readonly access: ExportAccess,
    private readonly fsid: bigint,
    private readonly signal: AbortSignal,
  ) {}

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
    for (;;) {
      this.signal.throwIfAborted();
      const { entries, isWhole } = await this.#list(folder);
      const folders: Folder[] = [];
      await eachOf(entries, AT_A_TIME, async (entry) => {
        const inside = await this.#removeEntry(folder, entry);
        if (inside !== undefined) folders.push(inside);
      });
      // One after the other: the depth of a tree must not multiply what is under way, and what is remembered.
      for (const inside of folders) await this.remove(inside);
      if (isWhole) return;
    }
  }

  /** Removes an entry that is no folder; answers with one that is. */
  async #removeEntry(parent: FileHandle, entry: ListedEntry): Promise<Folder | undefined> {
    const { name } = entry;
    const isListed = entry.attributes !== undefined && entry.handle !== undefined;
    const found = isListed
      ? { attributes: entry.attributes as Fattr3, handle: entry.handle as FileHandle }
      : await this.access.find(parent, name);
    if (found === undefined) return undefined;
    if (found.attributes.type === FileType.DIR) {
      if (found.attributes.fsid === this.fsid) return { parent, name, handle: found.handle };
      throw new CsiError('FAILED_PRECONDITION', `Another file system is mounted at ${shown(name)}.`, {
        remedy: 'Unmount it on the server.',
      });
    }
    const { status } = await this.access.call(REMOVE, { directory: parent, name });
    if (status !== Status.OK && status !== Status.NOENT) throw new ServerRefusal(status, name);
    return undefined;
  }

  /** The first entries of a folder; all of them if `isWhole`. None of a folder that is gone. */
  async #list(
    directory: FileHandle,
  ): Promise<{ readonly entries: readonly ListedEntry[]; readonly isWhole: boolean }> {
    let cookie = 0n;
    let cookieVerifier: Uint8Array = new Uint8Array(COOKIE_VERIFIER_SIZE);
    for (;;) {
      const page = await this.#page(directory, cookie, cookieVerifier);
      if (page === undefined) return { entries: [], isWhole: true };
      const entries = page.entries.filter(({ name }) => !isDots(name));
      if (entries.length > 0 || page.eof) return { entries, isWhole: page.eof && cookie === 0n };
      const last = page.entries.at(-1);
      if (last === undefined) return { entries: [], isWhole: true };
      cookie = last.cookie;
      cookieVerifier = page.cookieVerifier;
    }
  }

  async #page(directory: FileHandle, cookie: bigint, cookieVerifier: Uint8Array) {
    const maxcount = Math.min(this.access.listingBytes, MOST_LISTED_BYTES);
    if (this.#withAttributes) {
      const dircount = Math.ceil(maxcount / NAMES_PART);
      const result = await this.access.call(READDIRPLUS, {
        directory,
        cookie,
        cookieVerifier,
        dircount,
        maxcount,
      });
      if (result.status === Status.OK) return result;
      if (result.status === Status.STALE) return undefined;
      if (result.status !== Status.NOTSUPP) throw new ServerRefusal(result.status, undefined);
      this.#withAttributes = false;
    }
    const result = await this.access.call(READDIR, { directory, cookie, cookieVerifier, count: maxcount });
    if (result.status === Status.STALE) return undefined;
    if (result.status !== Status.OK) throw new ServerRefusal(result.status, undefined);
    const bare = { attributes: undefined, handle: undefined };
    return { ...result, entries: result.entries.map((entry) => ({ ...entry, ...bare })) };
  }
}

function shown(name: FileName): string {
  return JSON.stringify(fileNameToText(name));
}

/** Works on all of a list, on a few at a time. Rejects with the first failure, once nothing is under way any more. */
async function eachOf<Item>(
  items: readonly Item[],
  atATime: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  let failure: { readonly error: unknown } | undefined;
  const worker = async (): Promise<void> => {
    for (const item of waiting) {
      try {
        await work(item);
      } catch (error) {
        failure ??= { error };
      }
      if (failure !== undefined) return;
    }
  };
  await Promise.all(Array.from({ length: atATime }, worker));
  if (failure !== undefined) throw failure.error;
}
