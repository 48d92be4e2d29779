/**
 * The duplicate request cache. It keeps the replies to calls that must not be carried out twice, for a client that
 * sends such a call again because the reply was lost.
 *
 * A call is known by the client's address and port, its XID, its procedure, its length and a checksum of its first
 * bytes (as in Linux's nfsd), so that a client that starts with new XIDs does not get the reply to another call.
 */
import type { Message } from '../transport/transport.js';

const DEFAULT_ENTRIES = 4096;
/** Longer replies are not kept: those of non-idempotent procedures are small, and long ones could fill our memory. */
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

/** A call that came for the first time. Exactly one of `finish` and `abandon` is called, once. */
export interface CachedCall<Sink extends ReplySink> {
  /** Keeps the reply, and returns the connection to send it to: the last one that has sent the call. */
  finish(reply: Message): Sink;
  /** The call ended without a reply worth keeping. */
  abandon(): Sink;
}

export type CachedReply<Sink extends ReplySink> =
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
  lookup(peer: string, xid: number, procedure: string, message: Buffer, sink: Sink): CachedReply<Sink> {
    const key = `${peer} ${xid} ${procedure} ${message.length} ${checksum(message)}`;
    const known = this.#entries.get(key);
    if (known !== undefined) {
      this.hits += 1;
      if (known.reply !== undefined) return { kind: 'answered', reply: known.reply };
      // The client has sent the call again over a new connection while it is carried out: the reply goes there.
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
