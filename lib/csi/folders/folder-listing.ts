/**
 * Lists folders of a server by calls of our own. Owns the bounds for a server whose listing comes to no end, and how a list is
 * worked on with a few calls at a time.
 */
import {
  COOKIE_VERIFIER_SIZE,
  type Fattr3,
  type FileHandle,
  type FileName,
  isDots,
  READDIR,
  READDIRPLUS,
  Status,
} from '../../programs/nfs3/index.js';
import { type ExportAccess, type FoundObject, ServerRefusal } from '../../volume-parts/export-access.js';
import { CsiError } from '../wire/csi-error.js';

const MOST_LISTED_BYTES = 128 * 1024;
/** In a listing with attributes, the names are a small part. */
const NAMES_PART = 4;
/** Pages of one listing that have nothing but "." and "..". */
const MOST_EMPTY_PAGES = 16;
/** Pages of one listing: beyond a million entries. */
const MOST_PAGES = 10_000;

export interface FolderEntry {
  readonly name: FileName;
  readonly attributes: Fattr3 | undefined;
  readonly handle: FileHandle | undefined;
}

interface ListedPage {
  readonly entries: readonly FolderEntry[];
  /** All that the folder has come in this page. */
  readonly isWhole: boolean;
}

export class FolderListing {
  #withAttributes = true;

  /** `signal`: nobody waits any more. */
  constructor(
    private readonly access: ExportAccess,
    private readonly signal: AbortSignal,
  ) {}

  /** The first entries of a folder. None of one that is gone. @throws ServerRefusal, or CsiError if it comes to no end */
  async first(directory: FileHandle): Promise<ListedPage> {
    for await (const page of this.pages(directory)) return page;
    return { entries: [], isWhole: true };
  }

  /** Pages of entries, each with one at least. @throws the same */
  async *pages(directory: FileHandle): AsyncGenerator<ListedPage> {
    let cookie = 0n;
    let cookieVerifier: Uint8Array = new Uint8Array(COOKIE_VERIFIER_SIZE);
    let empty = 0;
    for (let count = 0; ; count++) {
      this.signal.throwIfAborted();
      if (count === MOST_PAGES || empty > MOST_EMPTY_PAGES) throw endless();
      const page = await this.#page(directory, cookie, cookieVerifier);
      if (page === undefined) return;
      const entries = page.entries.filter(({ name }) => !isDots(name));
      if (entries.length > 0) yield { entries, isWhole: page.eof && cookie === 0n };
      else empty += 1;
      const last = page.entries.at(-1);
      if (page.eof || last === undefined) return;
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

/** The object of an entry, which is asked for only where the listing does not have it. */
export async function foundOf(
  access: ExportAccess,
  parent: FileHandle,
  { name, attributes, handle }: FolderEntry,
): Promise<FoundObject | undefined> {
  return attributes === undefined || handle === undefined
    ? await access.find(parent, name)
    : { attributes, handle };
}

/** The server's listings lead nowhere. */
export function endless(): CsiError {
  return new CsiError('INTERNAL', 'The server lists a folder, and comes to no end.', {
    remedy: 'Look at the folder on the server.',
  });
}

/** Works on all of a list, on a few at a time. Rejects with the first failure, once nothing is under way any more. */
export async function eachOf<Item>(
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
