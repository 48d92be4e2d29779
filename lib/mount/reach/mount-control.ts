/**
 * How a command asks the process that serves a mount (mount-link.ts). Owns the finding of its socket and the proof that
 * it is that process which answers: an answer of anybody else could say "done" while data is unwritten.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { isServedBy, type MountEntry } from '../../fuse/index.js';
import type { Unwritten } from '../failure/unwritten.js';
import { isSocketName, type MountOutcome, type StillMounted } from './link-protocol.js';
import { type Peer, peerOf } from './peer.js';
import { looksLikeRuntimeFolder, ownUid, RuntimeFolder, runtimeFoldersOf } from './runtime-folder.js';
import { descriptorOf } from './socket-descriptor.js';

/** The part of a line of mountinfo that is needed to find the process of a mount. */
export type Wanted = Pick<MountEntry, 'major' | 'minor' | 'superOptions'>;

const MAX_ANSWER = 1024 * 1024;
/** A process that does not even say how it is does not run. */
const PATIENCE_MS = 10_000;

/** The process that serves a mount, found and known to be that. */
export interface MountControl {
  readonly peer: Peer;
  /** The counters of the mount. Undefined: it does not answer. */
  stats(): Promise<unknown>;
  /**
   * Has what was written so far brought to stable storage, however long that takes; resolves with a line for each file
   * that lost data. Undefined: the process has ended before.
   */
  writeBack(): Promise<readonly string[] | undefined>;
  /** To be called before the mount is taken away. Undefined: it does not answer. */
  watch(): Promise<MountWatch | undefined>;
  /**
   * Tells it that the caller has unmounted. Resolves when all that was written is written back, if the mount lives on
   * elsewhere; does not resolve if not: then the end of the process is the answer.
   */
  unmounted(): Promise<StillMounted>;
  /** Tells the process not to wait for a server that takes nothing. */
  orderToGiveUp(): Promise<void>;
  close(): void;
}

/** The waiting side. */
export interface MountWatch {
  /** The outcome, or undefined if the process was killed before it could say anything. */
  readonly ended: Promise<MountOutcome | undefined>;
  cancel(): void;
}

/** The counters of a mount. Undefined: its process cannot be asked from here. */
export async function askStats(wanted: Wanted): Promise<unknown> {
  const control = await reachMount(wanted);
  try {
    return await control?.stats();
  } finally {
    control?.close();
  }
}

/** Undefined: nobody who serves this mount can be reached from here, or who answers is not known to serve it. */
export async function reachMount(wanted: Wanted): Promise<MountControl | undefined> {
  for (const folder of placesOf(wanted)) {
    for (const name of socketsIn(folder, wanted)) {
      const open = () => connectTo(folder.at(name), wanted);
      const link = await open();
      if (link === undefined) continue;
      link.socket.destroy();
      return controlOf(link.peer, open, () => folder.close());
    }
    folder.close();
  }
  return undefined;
}

/**
 * The folders in which the socket may be: those of the mount's owner, ours (a helper may have mounted for us, under a uid of
 * its own), and any that a process holds open.
 */
function* placesOf({ superOptions }: Wanted): Generator<RuntimeFolder> {
  for (const uid of new Set([ownerOf(superOptions), ownUid()])) yield* runtimeFoldersOf(uid);
  yield* foldersHeldOpen();
}

/**
 * The runtime folders that processes hold open, as far as /proc lets us see: the owner's environment may name another
 * folder than ours, something may be mounted over it, or it may be in another mount namespace.
 */
function* foldersHeldOpen(): Generator<RuntimeFolder> {
  for (const pid of entriesOf('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const fd of entriesOf(`/proc/${pid}/fd`)) {
      if (!looksLikeRuntimeFolder(linkOf(`/proc/${pid}/fd/${fd}`))) continue;
      const folder = RuntimeFolder.heldBy(Number(pid), Number(fd));
      if (folder !== undefined) yield folder;
    }
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** The youngest first: the number may have belonged to a mount whose process has not ended yet. */
function socketsIn(folder: RuntimeFolder, { major, minor }: Wanted): string[] {
  return folder
    .names()
    .filter((name) => isSocketName(name, major, minor))
    .map((name) => ({ name, made: birthOf(folder.at(name)) }))
    .sort((one, other) => other.made - one.made)
    .map(({ name }) => name);
}

function birthOf(path: string): number {
  try {
    return statSync(path).birthtimeMs;
  } catch {
    return 0;
  }
}

/** As the kernel lists it: whoever has opened /dev/fuse for the mount said so. */
function ownerOf(superOptions: string): number {
  const [, uid] = /(?:^|,)user_id=(\d+)/.exec(superOptions) ?? [];
  return uid === undefined ? ownUid() : Number(uid);
}

interface Link {
  readonly socket: Socket;
  readonly peer: Peer;
}

/** Undefined: nobody listens there, or it is not known to be the process that serves the mount. */
function connectTo(path: string, wanted: Wanted): Promise<Link | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => resolve(undefined));
    socket.once('connect', () => {
      const fd = descriptorOf(socket);
      const peer = fd === undefined ? undefined : peerOf(fd);
      if (peer === undefined || !mayServe(peer, wanted)) socket.destroy();
      else resolve({ socket, peer });
    });
  });
}

/**
 * Root, the mount's owner, or, where the kernel shows whose connection a descriptor is, whoever has this one's. Another
 * user's process may have made a socket of that name.
 */
function mayServe({ pid, uid }: Peer, { superOptions, minor }: Wanted): boolean {
  return uid === 0 || uid === ownerOf(superOptions) || (pid !== 0 && isServedBy(pid, minor));
}

function controlOf(peer: Peer, open: () => Promise<Link | undefined>, close: () => void): MountControl {
  const ask = async (question: string, patienceMs?: number): Promise<unknown> => {
    const link = await open();
    return link === undefined ? undefined : askOnce(link.socket, question, patienceMs);
  };
  return {
    peer,
    stats: () => ask('stats', PATIENCE_MS),
    writeBack: async () => {
      const losses = await ask('write back');
      return Array.isArray(losses) ? losses.map(String) : undefined;
    },
    watch: async () => {
      const link = await open();
      return link === undefined ? undefined : watch(link.socket);
    },
    // Over connections of their own: a write to one that the other side has just closed would cost us what it said last.
    unmounted: async () => stillMountedOf(await ask('unmounted')) ?? new Promise(() => {}),
    orderToGiveUp: async () => void (await ask('give up')),
    close,
  };
}

/** The answer; undefined if the other side goes away, or after `patienceMs` of silence. */
async function askOnce(socket: Socket, question: string, patienceMs?: number): Promise<unknown> {
  const lines = new AnswerLines(socket);
  if (patienceMs !== undefined) socket.setTimeout(patienceMs, () => socket.destroy());
  socket.write(`${question}\n`);
  const answer = await lines.next();
  socket.destroy();
  return answer;
}

async function watch(socket: Socket): Promise<MountWatch | undefined> {
  const lines = new AnswerLines(socket);
  socket.setTimeout(PATIENCE_MS, () => socket.destroy());
  socket.write('watch\n');
  if ((await lines.next()) === undefined) return undefined;
  socket.setTimeout(0);
  return { ended: lines.next().then(outcomeOf), cancel: () => socket.destroy() };
}

/** The lines that come over a socket, each as JSON. */
class AnswerLines {
  #said = '';
  #closed = false;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      this.#said += text;
      if (this.#said.length > MAX_ANSWER) socket.destroy();
      this.#wake();
    });
    this.#closed = socket.destroyed;
    socket.once('close', () => {
      this.#closed = true;
      this.#wake();
    });
  }

  /** The next line; undefined when there will be none, or if it is not JSON. */
  async next(): Promise<unknown> {
    for (;;) {
      const end = this.#said.indexOf('\n');
      if (end >= 0) {
        const line = this.#said.slice(0, end);
        this.#said = this.#said.slice(end + 1);
        return parsed(line);
      }
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function stillMountedOf(value: unknown): StillMounted | undefined {
  if (typeof value !== 'object' || value === null || !('stillMounted' in value)) return undefined;
  const losses = 'losses' in value && Array.isArray(value.losses) ? value.losses.map(String) : [];
  return { stillMounted: true, losses, untold: untoldIn(value) };
}

function outcomeOf(value: unknown): MountOutcome | undefined {
  if (typeof value !== 'object' || value === null || !('status' in value)) return undefined;
  const { status } = value;
  if (typeof status !== 'number') return undefined;
  const message = 'message' in value && typeof value.message === 'string' ? value.message : undefined;
  const lost = 'lost' in value && value.lost !== null ? (value.lost as Unwritten) : undefined;
  return { status, message, lost, untold: untoldIn(value) };
}

function untoldIn(value: object): number {
  return 'untold' in value && typeof value.untold === 'number' ? value.untold : 0;
}
