/**
 * The side of the control socket (link-protocol.ts) that asks. Owns how the socket of a mount is found, and the proof that
 * the answers come from the process that serves the mount: another process could say "done" while data is unwritten.
 */
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { isRecord, parsedJson } from '../../base/json.js';
import { shownJson, shownName } from '../../base/shown-name.js';
import { isServedBy, type MountEntry } from '../../fuse/index.js';
import { type QuotaWish, quotaReportIn } from '../../vfs/quota/quota-report.js';
import { unwrittenIn } from '../failure/unwritten.js';
import {
  isSocketName,
  type MountOutcome,
  type QuotaAnswer,
  quotaQuestion,
  type Restarted,
  restartQuestion,
  type StillMounted,
  type ToldLack,
} from './link-protocol.js';
import { type Peer, peerOf } from './peer.js';
import { looksLikeRuntimeFolder, ownUid, RuntimeFolder, runtimeFoldersOf } from './runtime-folder.js';
import { descriptorOf } from './socket-descriptor.js';

/** The part of a mountinfo line that identifies the process of a mount. */
export type Wanted = Pick<MountEntry, 'major' | 'minor' | 'superOptions'>;

const MAX_ANSWER = 1024 * 1024;
/** A process that gives no counters within this time is stopped or hangs. */
const PATIENCE_MS = 10_000;
/** The server is asked, for which there are several places. */
const QUOTA_PATIENCE_MS = 60_000;

/** The process that serves a mount, found and proven to be that. */
export interface MountControl {
  readonly peer: Peer;
  /** The counters of the mount. Undefined: the process does not answer within that time, or within ten seconds. */
  stats(patienceMs?: number): Promise<unknown>;
  /**
   * Brings everything that was written so far to stable storage, however long that takes. Resolves with a line for each
   * file that lost data. Undefined: the process has ended before.
   */
  writeBack(): Promise<readonly string[] | undefined>;
  /** Waits for the end of the process. Call it before the mount is taken away. Undefined: the process does not answer. */
  watch(): Promise<MountWatch | undefined>;
  /**
   * Tells the process that the caller has unmounted. If the mount lives on elsewhere, resolves when everything is written
   * back. Otherwise it never resolves: the process ends, and {@link MountWatch.ended} tells how.
   */
  unmounted(): Promise<StillMounted>;
  /** Orders the process to hand the mount over. Undefined: it has ended without an answer. */
  restart(program: string | undefined): Promise<Restarted | undefined>;
  /**
   * The quota that is wanted, or those that concern this process. Undefined: the process of the mount does not answer, or is of a
   * version that knows no quotas.
   */
  quotas(wish: QuotaWish | undefined): Promise<QuotaAnswer | undefined>;
  /** Orders the process not to wait for a server that accepts nothing. */
  orderToGiveUp(): Promise<void>;
  close(): void;
}

/** A caller that waits for the end of the process. */
export interface MountWatch {
  /** The outcome, or undefined if the process was killed before it could say anything. */
  readonly ended: Promise<MountOutcome | undefined>;
  cancel(): void;
}

/** The counters of a mount. Undefined: its process cannot be asked from here, or does not answer within that time. */
export async function askStats(wanted: Wanted, patienceMs?: number): Promise<unknown> {
  const control = await reachMount(wanted);
  try {
    return await control?.stats(patienceMs);
  } finally {
    control?.close();
  }
}

/** Undefined: no process that provably serves this mount can be reached from here. */
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
 * The folders in which the socket may be: those of the mount's owner, those of this user (a helper with another uid may have
 * mounted for us), and every runtime folder that some process holds open.
 */
function* placesOf({ superOptions }: Wanted): Generator<RuntimeFolder> {
  for (const uid of new Set([ownerOf(superOptions), ownUid()])) yield* runtimeFoldersOf(uid);
  yield* foldersHeldOpen();
}

/**
 * The runtime folders that processes hold open, as far as /proc lets us see. They are needed where the owner's environment
 * names another folder than ours, where something is mounted over the folder, and for other mount namespaces.
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

/** The youngest first: an older socket may belong to the previous mount with this number, whose process still runs. */
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

/** The user who mounted, as the kernel lists it. */
function ownerOf(superOptions: string): number {
  const [, uid] = /(?:^|,)user_id=(\d+)/.exec(superOptions) ?? [];
  return uid === undefined ? ownUid() : Number(uid);
}

interface Link {
  readonly socket: Socket;
  readonly peer: Peer;
}

/** Undefined: nobody listens there, or the listener is not provably the process that serves the mount. */
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
 * Whether the process may be trusted to serve the mount: it is root's or the mount's owner's, or the kernel shows that it
 * holds the connection. Another user's process may have made a socket of that name.
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
    stats: (patienceMs = PATIENCE_MS) => ask('stats', patienceMs),
    writeBack: async () => {
      const losses = await ask('write back');
      return Array.isArray(losses) ? losses.map(oneLine) : undefined;
    },
    watch: async () => {
      const link = await open();
      return link === undefined ? undefined : watch(link.socket);
    },
    // Each question has a connection of its own. A write to a connection that the other side has just closed would
    // discard its last answer.
    unmounted: async () => stillMountedOf(await ask('unmounted')) ?? new Promise(() => {}),
    restart: async (program) => restartedOf(await ask(restartQuestion(program))),
    quotas: async (wish) => quotaAnswerOf(await ask(quotaQuestion(wish), QUOTA_PATIENCE_MS)),
    orderToGiveUp: async () => void (await ask('give up')),
    close,
  };
}

/** The answer. Undefined: the other side closed the connection, or was silent for `patienceMs`. */
async function askOnce(socket: Socket, question: string, patienceMs?: number): Promise<unknown> {
  const lines = new AnswerLines(socket);
  if (patienceMs !== undefined) socket.setTimeout(patienceMs, () => socket.destroy());
  socket.write(`${question}\n`, 'latin1');
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

  /** The next line. Undefined: there will be none, or it is not JSON. */
  async next(): Promise<unknown> {
    for (;;) {
      const end = this.#said.indexOf('\n');
      if (end >= 0) {
        const line = this.#said.slice(0, end);
        this.#said = this.#said.slice(end + 1);
        return parsedJson(line);
      }
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

function restartedOf(value: unknown): Restarted | undefined {
  if (!isRecord(value)) return undefined;
  return typeof value.pid === 'number' ? { pid: value.pid } : lackOf(value);
}

function quotaAnswerOf(value: unknown): QuotaAnswer | undefined {
  return (isRecord(value) ? lackOf(value) : undefined) ?? quotaReportIn(value);
}

function lackOf(value: Record<string, unknown>): ToldLack | undefined {
  if (!('failed' in value)) return undefined;
  const remedy = value.remedy === undefined ? undefined : oneLine(value.remedy);
  return { failed: oneLine(value.failed), remedy };
}

function stillMountedOf(value: unknown): StillMounted | undefined {
  if (!isRecord(value) || !('stillMounted' in value)) return undefined;
  const losses = Array.isArray(value.losses) ? value.losses.map(oneLine) : [];
  return { stillMounted: true, losses, untold: untoldIn(value) };
}

function outcomeOf(value: unknown): MountOutcome | undefined {
  if (!isRecord(value) || typeof value.status !== 'number') return undefined;
  const { status, message } = value;
  const told = typeof message === 'string' ? oneLine(message) : undefined;
  return { status, message: told, lost: unwrittenIn(value.lost), untold: untoldIn(value) };
}

function untoldIn({ untold }: Record<string, unknown>): number {
  return typeof untold === 'number' ? untold : 0;
}

/** A text of the process, which may be another user's, on one line and without anything that a terminal obeys. */
function oneLine(text: unknown): string {
  if (typeof text !== 'string') return shownJson(text);
  const lines = text.split('\n').map((line) => line.trim());
  return shownName(lines.join(' '));
}
