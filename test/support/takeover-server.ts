/**
 * A program that serves a memory file system over a mount that its parent holds, so that it can be killed and followed by
 * another. The tree is the same in each of them.
 *
 * usage: takeover-server.ts SETTING      SETTING: JSON, see TakeoverSetting. Descriptor 3: /dev/fuse, mounted;
 * descriptor 4: memory that outlives the program, for its notes of requests under way.
 *
 * Speaks with its parent over the channel of child_process: see ServerMessage and ServerOrder.
 */
import { Errno, FuseError } from '../../lib/fuse/contract/errno.js';
import type { ConnectionInfo } from '../../lib/fuse/contract/operations.js';
import { FuseSession } from '../../lib/fuse/index.js';
import { SharedFile } from '../../lib/records/shared-file.js';
import { intercepted } from './intercepted.js';
import { MemoryFileSystem } from './memory-fs.js';

/** A {@link ConnectionInfo} as JSON can hold it. */
export type NotedConnection = Omit<ConnectionInfo, 'flags'> & { readonly flags: string };

export interface TakeoverSetting {
  readonly resumed?: NotedConnection;
  readonly resend?: boolean;
  /** See SessionOptions. */
  readonly restarted?: boolean;
  /** The grace of an interrupted request in milliseconds; 20 by default. */
  readonly graceMs?: number;
  /** Methods of the file system that answer only when their caller is cancelled. */
  readonly hold: readonly string[];
}

export interface SeenRequest {
  readonly method: string;
  readonly unique: number;
  readonly resent: boolean;
}

export type ServerMessage =
  | { readonly agreed: NotedConnection }
  | { readonly ready: true }
  | { readonly held: SeenRequest }
  | { readonly resent: SeenRequest }
  /** A LOOKUP of this name was answered. */
  | { readonly lookedUp: string }
  | { readonly forgot: { readonly nodeid: number; readonly nlookup: number } }
  | { readonly interrupted: true };

export interface ServerOrder {
  readonly hold: readonly string[];
}

const setting = JSON.parse(process.argv[2] ?? '') as TakeoverSetting;
const tell = (message: ServerMessage): void => void process.send?.(message);
let hold = new Set(setting.hold);

const fs = new MemoryFileSystem({ entryValidMs: 0, attrValidMs: 0 });
for (const name of ['read', 'written', 'looked-up', 'locked', 'forgotten'])
  fs.addFile(name, Buffer.from(`content of ${name}`));
// A request that makes a name keeps all others out of its directory.
for (const name of ['one', 'other']) fs.root.children.set(name, fs.make(0o040755, 0, 0, fs.root));
const forget = fs.forget.bind(fs);
fs.forget = (nodeid, nlookup) => {
  tell({ forgot: { nodeid, nlookup } });
  forget(nodeid, nlookup);
};

/** Methods tell of requests that come again, and answer only as far as they may. */
const operations = intercepted(fs, ({ method, ctx, args, answer }) => {
  const request = { method, unique: ctx.unique, resent: ctx.resent };
  if (ctx.resent) tell({ resent: request });
  if (!hold.has(method)) {
    if (method === 'lookup') tell({ lookedUp: String(args[2]) });
    return answer();
  }
  tell({ held: request });
  return new Promise((_, reject) => ctx.onCancel(() => reject(new FuseError(Errno.EINTR))));
});

const { resumed } = setting;
const notes = new SharedFile(4);
const session = new FuseSession(3, operations, {
  resend: setting.resend,
  restarted: setting.restarted,
  underWay: notes.map(0, notes.size)?.f64,
  resumed: resumed && { ...resumed, flags: BigInt(resumed.flags) },
  debug: (line) => {
    if (line.startsWith('> INTERRUPT')) tell({ interrupted: true });
  },
  agreed: (connection) => tell({ agreed: { ...connection, flags: String(connection.flags) } }),
  interruptGraceMs: setting.graceMs ?? 20,
});
process.on('message', (order: ServerOrder) => {
  hold = new Set(order.hold);
});
await session.ready;
tell({ ready: true });
await session.closed;
process.disconnect();
