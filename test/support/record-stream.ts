/**
 * Cuts the bytes between client and server into records (RFC 5531 section 11), and reads enough of the RPC headers to
 * say which procedure a record belongs to. Written apart from the product's own
 * parser, so that the two do not share a mistake.
 */

/** One record as it was on the wire, its fragments and their marks included. */
export interface WireRecord {
  readonly bytes: Buffer;
  readonly xid: number;
  /** "NFS.WRITE", "MOUNT.MNT", "100227.1"; undefined for a record that is no call and answers none. */
  readonly procedure: string | undefined;
}

const LONGEST_FRAGMENT = 64 << 20;

/** Cuts a stream into records. Throws RangeError when it cannot be one of records. */
export class RecordSplitter {
  #bytes: Buffer = Buffer.alloc(0);

  /** Takes bytes that arrived, and returns the raw bytes of each record that is complete now. */
  push(bytes: Buffer): Buffer[] {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    const records: Buffer[] = [];
    for (;;) {
      const length = this.#recordLength();
      if (length === undefined) return records;
      records.push(this.#bytes.subarray(0, length));
      this.#bytes = this.#bytes.subarray(length);
    }
  }

  #recordLength(): number | undefined {
    let end = 0;
    for (;;) {
      if (this.#bytes.length < end + 4) return undefined;
      const mark = this.#bytes.readUInt32BE(end);
      const length = mark & 0x7fff_ffff;
      if (length > LONGEST_FRAGMENT) throw new RangeError(`a fragment of ${length} bytes`);
      end += 4 + length;
      if (this.#bytes.length < end) return undefined;
      if (mark >= 0x8000_0000) return end;
    }
  }
}

const PROGRAMS: Readonly<Record<number, { readonly name: string; readonly procedures: readonly string[] }>> =
  {
    100003: {
      name: 'NFS',
      procedures: [
        ...['NULL', 'GETATTR', 'SETATTR', 'LOOKUP', 'ACCESS', 'READLINK', 'READ', 'WRITE', 'CREATE', 'MKDIR'],
        ...['SYMLINK', 'MKNOD', 'REMOVE', 'RMDIR', 'RENAME', 'LINK', 'READDIR', 'READDIRPLUS', 'FSSTAT'],
        ...['FSINFO', 'PATHCONF', 'COMMIT'],
      ],
    },
    100005: { name: 'MOUNT', procedures: ['NULL', 'MNT', 'DUMP', 'UMNT', 'UMNTALL', 'EXPORT'] },
    100000: { name: 'PORTMAP', procedures: ['NULL', 'SET', 'UNSET', 'GETPORT', 'DUMP'] },
    100021: {
      name: 'NLM',
      procedures: [
        ...['NULL', 'TEST', 'LOCK', 'CANCEL', 'UNLOCK', 'GRANTED', 'TEST_MSG', 'LOCK_MSG', 'CANCEL_MSG'],
        ...['UNLOCK_MSG', 'GRANTED_MSG', 'TEST_RES', 'LOCK_RES', 'CANCEL_RES', 'UNLOCK_RES', 'GRANTED_RES'],
        ...['SM_NOTIFY', '17', '18', '19', 'SHARE', 'UNSHARE', 'NM_LOCK', 'FREE_ALL'],
      ],
    },
  };

/** The calls of one connection that wait for their replies: they tell the procedure of a reply. */
export class CallTable {
  readonly #outstanding = new Map<number, string>();

  /** Calls that went to the server and that it has not answered. */
  get size(): number {
    return this.#outstanding.size;
  }

  /** `header`: the message in `bytes`, which of a record begins after its mark. */
  call(bytes: Buffer, header = body(bytes)): WireRecord {
    if (header.length < 24) return { bytes, xid: 0, procedure: undefined };
    const xid = header.readUInt32BE(0);
    const program = PROGRAMS[header.readUInt32BE(12)];
    const number = header.readUInt32BE(20);
    const name = program?.name ?? String(header.readUInt32BE(12));
    return { bytes, xid, procedure: `${name}.${program?.procedures[number] ?? number}` };
  }

  /** The call was handed to the server. */
  forwarded(call: WireRecord): void {
    if (call.procedure !== undefined) this.#outstanding.set(call.xid, call.procedure);
  }

  reply(bytes: Buffer, header = body(bytes)): WireRecord {
    if (header.length < 8) return { bytes, xid: 0, procedure: undefined };
    const xid = header.readUInt32BE(0);
    const procedure = this.#outstanding.get(xid);
    this.#outstanding.delete(xid);
    return { bytes, xid, procedure };
  }
}

/** The message without its record mark, as far as the first fragment has it: headers are never split further. */
function body(bytes: Buffer): Buffer {
  return bytes.subarray(4, 4 + (bytes.readUInt32BE(0) & 0x7fff_ffff));
}
