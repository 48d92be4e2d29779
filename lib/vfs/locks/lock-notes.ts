/**
 * Notes of what the server may hold or grant, for whoever cleans up after this process has died. Owns when a note is
 * needed: from before the first call until nothing of it can be left at the server.
 */
import type { FileHandle } from '../../programs/nfs3/index.js';
import type { ClientLock, ClientOwner } from './lock-owners.js';
import type { LockedFile } from './locked-file.js';

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
  readonly #holders = new Map<string, LockNote>();

  constructor(journal: LockJournal | undefined) {
    this.#journal = journal;
  }

  /** To be called before a LOCK that the server may grant. */
  mayHold({ key, handle }: LockedFile, owner: ClientOwner): void {
    const holder = `${key} ${owner.key}`;
    if (this.#journal === undefined || this.#holders.has(holder)) return;
    const { svid, ownerHandle } = owner;
    const note = { handle, svid, ownerHandle };
    this.#holders.set(holder, note);
    this.#journal.note(note);
  }

  /** The owner holds nothing of the file, and nothing of it is under way. */
  holdsNone({ key }: LockedFile, owner: ClientOwner): void {
    const holder = `${key} ${owner.key}`;
    const note = this.#holders.get(holder);
    if (note === undefined) return;
    this.#holders.delete(holder);
    this.#journal?.forget(note);
  }

  /** To be called before the first LOCK that may wait in the server's queue. */
  waits({ handle }: LockedFile, { owner, start, end, exclusive }: ClientLock): LockNote {
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
