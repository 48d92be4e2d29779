/**
 * Notes of what the server may hold or grant, for whoever cleans up after this process has died. Owns when a note is
 * needed: from before the first call until nothing of it can be left at the server.
 */
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';

/** A file as the server knows it, and as this mount does. */
interface NotedFile {
  readonly key: string;
  readonly handle: FileHandle;
}

/** An owner that may hold locks of a file; with a range, a lock that waits at the server. */
export interface LockNote {
  readonly handle: FileHandle;
  readonly svid: number;
  /** One character per byte. */
  readonly ownerHandle: string;
  readonly waiting?:
    | { readonly start: bigint; readonly end: bigint; readonly exclusive: boolean }
    | undefined;
}

/** Keeps notes where they outlive this process. */
export interface LockJournal {
  /** The note is kept when this returns. The same note may be made several times. */
  note(note: LockNote): void;
  /** Takes one {@link note} back. */
  forget(note: LockNote): void;
  /** The mount is over. `allReleased`: nothing is left at the server. */
  close(allReleased: boolean): void;
}

export class LockNotes {
  readonly #journal: LockJournal | undefined;
  /** By file and owner, and by the handle under which the server knows the file. */
  readonly #holders = new Map<string, Map<FileHandle, LockNote>>();

  constructor(journal: LockJournal | undefined) {
    this.#journal = journal;
  }

  /** To be called before a LOCK that the server may grant. */
  mayHold({ key, handle }: NotedFile, owner: ClientOwner): void {
    if (this.#journal === undefined) return;
    const holder = `${key} ${owner.key}`;
    const notes = this.#holders.get(holder) ?? new Map<FileHandle, LockNote>();
    if (notes.has(handle)) return;
    const { svid, ownerHandle } = owner;
    const note = { handle, svid, ownerHandle };
    this.#holders.set(holder, notes.set(handle, note));
    this.#journal.note(note);
  }

  /** The owner holds nothing of the file, and nothing of it is under way. */
  holdsNone({ key }: NotedFile, owner: ClientOwner): void {
    const holder = `${key} ${owner.key}`;
    for (const note of this.#holders.get(holder)?.values() ?? []) this.#journal?.forget(note);
    this.#holders.delete(holder);
  }

  /** To be called before the first LOCK that may wait in the server's queue. */
  waits({ handle }: NotedFile, { owner, start, end, exclusive }: ClientLock): LockNote {
    const { svid, ownerHandle } = owner;
    const note = { handle, svid, ownerHandle, waiting: { start, end, exclusive } };
    this.#journal?.note(note);
    return note;
  }

  /** It was granted, or CANCEL was answered. */
  waitsNoMore(note: LockNote): void {
    this.#journal?.forget(note);
  }

  close(allReleased: boolean): void {
    this.#journal?.close(allReleased);
  }
}
