/**
 * The duplicate request cache: replies to calls that must not be carried out twice, kept for the client that
 * sends one again because the reply got lost.
 *
 * A call is known by the client's address and port, its XID, its procedure, its length and a checksum of its first
 * bytes (as in Linux's nfsd), so that a client that starts its XIDs anew gets no stranger's reply.
 */
import type { Message } from '../transport/transport.js';

const DEFAULT_ENTRIES = 4096;
/** Replies of non-idempotent procedures are small; anything longer would be a way to fill our memory. */
const MAX_REPLY = 16 * 1024;
const CHECKSUM_BYTES = 256;

/** Where the reply to a call goes when it is ready. */
export interface ReplySink {
  readonly closed: boolean;
}

interface Entry<Sink extends ReplySink> {
  reply: Message | undefined;
  sink: Sink;
}

/** A call that is the first of its kind; `finish` or `abandon` is due exactly once. */
export interface CachedCall<Sink extends ReplySink> {
  /** Records the reply and returns where to send it: to the connection that asked last. */
  finish(reply: Message): Sink;
  /** The call ended without a reply worth keeping. */
  abandon(): Sink;
}

export type Lookup<Sink extends ReplySink> =
  | { readonly kind: 'new'; readonly call: CachedCall<Sink> }
  | { readonly kind: 'in-progress' }
  | { readonly kind: 'answered'; readonly reply: Message };

export class DuplicateRequestCache<Sink extends ReplySink> {
  readonly #entries = new Map<string, Entry<Sink>>();
  readonly #maxEntries: number;
  /** Calls answered from here, or dropped because they were being carried out. */
  hits = 0;

  constructor(maxEntries = DEFAULT_ENTRIES) {
    this.#maxEntries = maxEntries;
  }

  /** Entries held, calls in progress included. */
  get size(): number {
    return this.#entries.size;
  }

  /** Looks a call up and, when it is new, enters it. `peer` is the client's address and port. */
  lookup(peer: string, xid: number, procedure: string, message: Buffer, sink: Sink): Lookup<Sink> {
    const key = `${peer} ${xid} ${procedure} ${message.length} ${checksum(message)}`;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      this.hits += 1;
      if (known.reply !== undefined) return { kind: 'answered', reply: known.reply };
      // The client came back over a new connection while its call is being carried out: it waits there.
      if (known.sink.closed) known.sink = sink;
      return { kind: 'in-progress' };
    }
    const entry: Entry<Sink> = { reply: undefined, sink };
    this.#entries.set(key, entry);
    this.#evict();
    const call: CachedCall<Sink> = {
      finish: (reply) => {
        let length = 0;
        for (const piece of reply) length += piece.length;
        if (length > MAX_REPLY) this.#entries.delete(key);
        else {
          entry.reply = reply;
          this.#evict();
        }
        return entry.sink;
      },
      abandon: () => {
        this.#entries.delete(key);
        return entry.sink;
      },
    };
    return { kind: 'new', call };
  }

  /** Drops the oldest replies. Calls in progress stay: there are never more than connections allow. */
  #evict(): void {
    if (this.#entries.size <= this.#maxEntries) return;
    for (const [key, entry] of this.#entries) {
      if (entry.reply === undefined) continue;
      this.#entries.delete(key);
      if (this.#entries.size <= this.#maxEntries) return;
    }
  }
}

/** FNV-1a. */
function checksum(message: Buffer): number {
  let sum = 0x811c9dc5;
  const end = Math.min(message.length, CHECKSUM_BYTES);
  for (let index = 0; index < end; index++) sum = Math.imul(sum ^ (message[index] ?? 0), 0x01000193);
  return sum >>> 0;
}
