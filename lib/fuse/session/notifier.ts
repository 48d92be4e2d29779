/**
 * Notifications to the kernel. Owns the rule for the thread that serves requests: it writes only notifications that
 * take no page lock and no directory lock, because a request that waits for us may hold these locks.
 */

import { Errno, errnoName } from '../contract/errno.js';
import type { ConnectionInfo, FuseNotifier, KnownEntry, NodeId } from '../contract/operations.js';
import { EXPIRE_ONLY, InitFlag, NotifyCode, Size } from '../contract/protocol.js';
import type { Channel } from './channel/channel.js';
import { ReplyBuffer } from './reply.js';

const INVAL_INODE_BYTES = Size.OUT_HEADER + 24;
const INVAL_ENTRY_BYTES = Size.OUT_HEADER + 16;

export class KernelNotifier implements FuseNotifier {
  readonly #channel: Channel;
  readonly #log: (line: string) => void;
  readonly #dump: ((line: string) => void) | undefined;
  readonly #attributes = new ReplyBuffer(INVAL_INODE_BYTES);
  #expiresEntries = false;
  #closed = false;

  /** `dump` receives a line for each notification. */
  constructor(channel: Channel, log: (line: string) => void, dump: ((line: string) => void) | undefined) {
    this.#channel = channel;
    this.#log = log;
    this.#dump = dump;
  }

  /** INIT was answered: what this kernel understands is known from now on. */
  connected({ flags }: ConnectionInfo): void {
    this.#expiresEntries = (flags & InitFlag.HAS_EXPIRE_ONLY) !== 0n;
  }

  get expiresEntries(): boolean {
    return this.#expiresEntries;
  }

  invalidateAttributes(nodeid: NodeId): boolean {
    if (this.#closed) return false;
    const message = this.#attributes;
    // A negative offset: attributes only (fuse_reverse_inval_inode).
    encodeInvalInode(message, nodeid, -1, 0);
    const errno = this.#channel.write(message, INVAL_INODE_BYTES);
    this.#finish(errno, `INVAL_INODE node=${nodeid} attributes`);
    return errno === 0;
  }

  async invalidatePages(nodeid: NodeId, offset: number, length: number): Promise<void> {
    if (this.#closed) return;
    const message = new ReplyBuffer(INVAL_INODE_BYTES);
    encodeInvalInode(message, nodeid, offset, length);
    const errno = await this.#channel.writeFromThread(message.bytes, 'pages');
    this.#finish(errno, `INVAL_INODE node=${nodeid} offset=${offset} length=${length}`);
  }

  invalidateEntry(parent: NodeId, name: Uint8Array): Promise<void> {
    return this.#invalEntry(parent, name, 0);
  }

  // FUSE_NOTIFY_INC_EPOCH (Linux 6.16) would expire all names at once. But the next look at such a dentry unhashes it, which
  // unmounts whatever is mounted on it, also in other mount namespaces (seen with Linux 6.18).
  async expireEntries(parent: NodeId, entries: Iterable<KnownEntry>): Promise<void> {
    const flags = this.#expiresEntries ? EXPIRE_ONLY : 0;
    const written: Promise<void>[] = [];
    for (const { name, exists } of entries)
      if (flags === EXPIRE_ONLY || !exists) written.push(this.#invalEntry(parent, name, flags));
    await Promise.all(written);
  }

  async #invalEntry(parent: NodeId, name: Uint8Array, flags: number): Promise<void> {
    if (this.#closed) return;
    const length = INVAL_ENTRY_BYTES + name.length + 1;
    const message = new ReplyBuffer((length + 7) & ~7);
    message.header(length, -NotifyCode.INVAL_ENTRY, 0, 0);
    message.wide(4, parent);
    message.u32[6] = name.length;
    message.u32[7] = flags;
    message.bytes.set(name, INVAL_ENTRY_BYTES);
    const errno = await this.#channel.writeFromThread(message.bytes.subarray(0, length), 'entries');
    const what = `INVAL_ENTRY parent=${parent} name=${JSON.stringify(Buffer.from(name).toString())}`;
    this.#finish(errno, flags === EXPIRE_ONLY ? `${what} expire` : what);
  }

  /**
   * Has the kernel send again, before all others, the requests that were read and not answered (FUSE_NOTIFY_RESEND,
   * Linux 6.9). Takes no lock. Only while nobody in this process works on a request: those come again as well.
   */
  resend(): void {
    const message = new ReplyBuffer(Size.OUT_HEADER);
    message.header(Size.OUT_HEADER, -NotifyCode.RESEND, 0, 0);
    const errno = this.#channel.write(message, Size.OUT_HEADER);
    // EINVAL is the answer to a code that the kernel does not know.
    if (errno === Errno.EINVAL) this.#dump?.('notify RESEND: unknown to this kernel');
    else this.#finish(errno, 'RESEND');
  }

  /** The connection is over: later calls do nothing. */
  close(): void {
    this.#closed = true;
  }

  #finish(errno: number, what: string): void {
    this.#dump?.(`notify ${what} = ${errno === 0 ? 'ok' : errnoName(errno)}`);
    // ENOENT: the kernel does not know the inode or the name. ENOTDIR: the parent was replaced. ENODEV,
    // ECONNABORTED and EBADF: unmounted meanwhile.
    if (errno === 0 || this.#closed || harmless.has(errno)) return;
    this.#log(`fuse: the kernel refused the notification ${what}: ${errnoName(errno)}`);
  }
}

const harmless = new Set<number>([
  Errno.ENOENT,
  Errno.ENOTDIR,
  Errno.ENOTEMPTY,
  Errno.EBUSY,
  Errno.ENODEV,
  Errno.ENOTCONN,
  Errno.ECONNABORTED,
  Errno.EPERM,
  Errno.EBADF,
]);

function encodeInvalInode(message: ReplyBuffer, nodeid: NodeId, offset: number, length: number): void {
  // The header's error field holds the positive notification code.
  message.header(INVAL_INODE_BYTES, -NotifyCode.INVAL_INODE, 0, 0);
  message.wide(4, nodeid);
  message.wide(6, offset);
  message.wide(8, length);
}
