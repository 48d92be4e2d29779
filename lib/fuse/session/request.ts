/** One request between its arrival and its answer: the caller, the operation, and whether the caller still waits. */
import { endianness } from 'node:os';
import type { RequestContext } from '../contract/operations.js';
import { EXT_GROUPS, Opcode, Size, UNIQUE_HIGH_MASK } from '../contract/protocol.js';
import { TWO_32 } from './message-buffer.js';
import type { RequestBuffer } from './request-buffer.js';

/** The unit of total_extlen in bytes. */
const EXTENSION_UNIT = 8;
const EXTENSION_HEADER = 8;
const LITTLE_ENDIAN = endianness() === 'LE';

export class FuseRequest implements RequestContext {
  /** When it came, in milliseconds of performance.now(). */
  readonly arrivedAt = performance.now();
  readonly opcode: number;
  readonly nodeid: number;
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  readonly directoryGroup: number | undefined;
  /** Both halves of the kernel's number for this request as they came, echoed in the answer. */
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
  resent: boolean;
  cancelled = false;
  /** The name argument, for the log. */
  name: Buffer | undefined = undefined;
  /** The buffer that holds the payload of a WRITE until its answer. */
  payload: RequestBuffer | undefined = undefined;
  /** Bytes of the session's payload budget that this request holds. */
  payloadBytes = 0;
  /** Where it is noted as under way; 0: nowhere. See UnderWayNotes. */
  noteCell = 0;
  /** The message, where the kernel cannot repeat it. */
  bytes: Uint8Array | undefined = undefined;
  /** The caller got a signal. */
  interrupted = false;
  /** It is left to the next process unless its operation succeeds soon. */
  left = false;
  /** The grace period of an interrupted request, running. */
  graceTimer: unknown = undefined;
  #listeners: (() => void)[] | undefined = undefined;

  /** Reads struct fuse_in_header. A node id of 2^53 or more is none of ours: `nodeid` is then NaN. */
  constructor(message: RequestBuffer) {
    this.opcode = message.word(4);
    this.uniqueLow = message.word(8);
    this.uniqueHigh = message.word(12);
    this.resent = this.uniqueHigh > UNIQUE_HIGH_MASK;
    this.nodeid = message.isSafe(16) ? message.wide(16) : Number.NaN;
    this.uid = message.word(24);
    this.gid = message.word(28);
    this.pid = message.word(32);
    this.directoryGroup = groupOfExtensions(message);
  }

  /** The kernel counts requests from 0 and cannot reach 2^53. */
  get unique(): number {
    return this.uniqueLow + (this.uniqueHigh & UNIQUE_HIGH_MASK) * TWO_32;
  }

  /** Data that programs count on is on its way: the operation should end well, even if nobody waits for it any more. */
  get movesData(): boolean {
    const { opcode } = this;
    return (
      opcode === Opcode.WRITE ||
      opcode === Opcode.FLUSH ||
      opcode === Opcode.FSYNC ||
      opcode === Opcode.RELEASE ||
      opcode === Opcode.SETATTR
    );
  }

  onCancel(listener: () => void): void {
    if (this.cancelled) listener();
    else if (this.#listeners === undefined) this.#listeners = [listener];
    else this.#listeners.push(listener);
  }

  /** Makes {@link cancelled} true and tells the listeners, once. */
  cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    const listeners = this.#listeners;
    this.#listeners = undefined;
    for (const listener of listeners ?? []) listener();
  }
}

/**
 * The group that struct fuse_supp_groups names. Undefined: there is none, as in nearly all requests. Extensions (struct
 * fuse_ext_header: size and type) end a message. They follow names of any length, so that their fields are not aligned.
 */
function groupOfExtensions(message: RequestBuffer): number | undefined {
  const units = message.word(36) & 0xffff;
  if (units === 0) return undefined;
  const { buffer, byteOffset } = message.bytes;
  const view = new DataView(buffer, byteOffset);
  const end = message.word(0);
  const word = (at: number): number => (at + 4 <= end ? view.getUint32(at, LITTLE_ENDIAN) : 0);
  for (let at = Math.max(Size.IN_HEADER, end - units * EXTENSION_UNIT); at < end; ) {
    const size = word(at);
    const count = word(at + 8);
    if (word(at + 4) === EXT_GROUPS && size >= 16 && count > 0) return word(at + 12);
    // Stop at an invalid size: the loop would read the same place for ever.
    if (size < EXTENSION_HEADER) return undefined;
    at += size;
  }
  return undefined;
}
