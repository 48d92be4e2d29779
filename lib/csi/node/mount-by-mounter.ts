/**
 * Mounts that a mounter serves: this process, which may mount, makes the mount in the kernel, and hands its descriptor over.
 * Afterwards it has no part in the mount any more, so that it can end at any time.
 */
import { closeSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { errorCode, type LogSink } from '../../base/log.js';
import {
  errnoName,
  type KernelMount,
  type MountEntry,
  mountKernel,
  sendDescriptor,
  unmountEntry,
} from '../../fuse/index.js';
import { fuseFailure } from '../../mount/failure/fuse-failure.js';
import { ToldFailure } from '../../mount/failure/told-failure.js';
import { grantFlags } from '../../mount/options/kernel-flags.js';
import { descriptorOf } from '../../mount/reach/socket-descriptor.js';
import { kernelMountOptions } from '../../mount/serve/kernel-transport.js';
import { unlessAborted } from '../../mount/waiting.js';
import {
  answerIn,
  type MounterAnswer,
  nextLine,
  type ServeQuestion,
  type SettleQuestion,
} from '../mounter/mounter-protocol.js';
import { CsiError } from '../wire/csi-error.js';
import type { Mounting, MountWishes } from './mounting.js';
import type { PublishTarget } from './publish-target.js';

/** As `nfs-fuse mount` sets it, which has the privilege when it mounts by itself. */
const READ_AHEAD_KIB = 1024;
/** Kubernetes tries again. A process that went on trying would be in the way of the next attempt. */
const ONE_ATTEMPT = 'retry=0';

type Done = Extract<MounterAnswer, { readonly done: true }>;

export class MountByMounter implements Mounting {
  /** Places whose mount has ended well, and about which nothing is to be asked again: the mounter may end with its last mount. */
  readonly #settled = new Set<string>();
  /** Places about whose mounts the mounter has been asked, and nobody has heard the answer: each has one question at a time. */
  readonly #asked = new Map<string, Promise<Done>>();

  /** `socket`: that of the mounter. */
  constructor(
    private readonly socket: string,
    private readonly tell: LogSink,
  ) {}

  async make({ path }: PublishTarget, wishes: MountWishes, signal: AbortSignal): Promise<void> {
    this.#settled.delete(path);
    const target = wishes.mounted;
    const options = [...wishes.options, ONE_ATTEMPT];
    // This process does the part of `nfs-fuse mount` that needs privilege, with its rules.
    const request = grantFlags(wishes.request);
    for (const note of request.notes.slice(wishes.request.notes.length)) this.tell('warn', note);
    // Before mounting: programs would wait for a mount that nobody serves.
    const link = await this.#connect();
    try {
      checkAwaited(signal);
      const mount = await mountKernel({ mountpoint: path, ...kernelMountOptions(request), method: 'direct' });
      try {
        await this.#handOver(link, mount, { serve: { place: path, target, options } }, signal);
        await mount.setReadAhead(READ_AHEAD_KIB);
      } catch (error) {
        await mount.unmount({ lazy: true }).catch(() => {});
        throw error;
      } finally {
        closeSync(mount.fd);
      }
    } catch (error) {
      throw fuseFailure(error);
    } finally {
      link.destroy();
    }
  }

  async end({ path }: PublishTarget, entry: MountEntry, signal: AbortSignal): Promise<void> {
    // Without a mounter nobody could tell whether everything is written back.
    (await this.#connect()).destroy();
    try {
      await unmountEntry(entry);
    } catch (error) {
      throw fuseFailure(error, 'See who uses it with "fuser -vm".');
    }
    const ask = async (): Promise<Done> => this.#ask(path, await this.#connectAfter(path));
    // A driver that asked twice at once would hear of a loss in one of the answers only.
    await this.#hear(path, this.#asked.get(path)?.then(ask) ?? ask(), signal);
    this.#settled.add(path);
  }

  async settled({ path }: PublishTarget, signal: AbortSignal): Promise<void> {
    if (this.#settled.delete(path)) return;
    let answer = this.#asked.get(path);
    try {
      answer ??= this.#ask(path, await this.#connect());
    } catch (error) {
      // The mounts of a mounter that has ended are over.
      this.tell('warn', error instanceof Error ? error.message : String(error));
      return;
    }
    await this.#hear(path, answer, signal);
  }

  async #ask(path: string, link: Socket): Promise<Done> {
    const question: SettleQuestion = { settle: { place: path } };
    try {
      // Any byte: no descriptor comes along.
      link.write(`.${JSON.stringify(question)}\n`);
      return await this.#answer(link);
    } finally {
      link.destroy();
    }
  }

  /**
   * Waits for the answer about a place until `signal` is aborted: a mounter that is stopped gives none, and one with a slow server
   * gives it late. The next call for the place hears it then: an answer that tells of lost data comes once.
   */
  async #hear(path: string, answer: Promise<Done>, signal: AbortSignal): Promise<void> {
    const forget = (): void => {
      if (this.#asked.get(path) === answer) this.#asked.delete(path);
    };
    this.#asked.set(path, answer);
    // A mounter that has ended is no answer, and the next one is asked again.
    answer.catch((error: unknown) => error instanceof ToldFailure || forget());
    try {
      const { note } = await unlessAborted(answer, signal);
      forget();
      if (note !== undefined) this.tell('warn', note);
    } catch (error) {
      if (error !== signal.reason) {
        forget();
        throw error;
      }
      throw new CsiError(
        'DEADLINE_EXCEEDED',
        `The mounter at ${this.socket} does not tell in time whether all data of ${path} is on the server.`,
        { remedy: 'Look whether the server answers, and whether the mounter runs.', cause: error },
      );
    }
  }

  async #handOver(
    link: Socket,
    mount: KernelMount,
    question: ServeQuestion,
    signal: AbortSignal,
  ): Promise<void> {
    // The mounter ends the process that it has started when this connection ends.
    const abort = (): void => void link.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      checkAwaited(signal);
      const fd = descriptorOf(link);
      const sent = fd === undefined ? -1 : sendDescriptor(fd, mount.fd);
      if (sent !== 1)
        throw new CsiError('UNAVAILABLE', `The mounter takes no descriptor (${errnoName(-sent)}).`);
      link.write(`${JSON.stringify(question)}\n`);
      await this.#answer(link);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** @throws ToldFailure if it is a failure, and CsiError if none comes */
  async #answer(link: Socket): Promise<Done> {
    const answer = answerIn(await nextLine(link));
    if (answer === undefined)
      throw new CsiError('UNAVAILABLE', `The mounter at ${this.socket} has ended, or gives no answer.`);
    if ('failed' in answer) throw new ToldFailure(answer.kind, answer.failed);
    return answer;
  }

  /** After unmounting. @throws CsiError */
  #connectAfter(path: string): Promise<Socket> {
    return this.#connect().catch((error: unknown) => {
      throw new CsiError(
        'UNAVAILABLE',
        `${path} is unmounted. Its mounter has ended before it could tell whether all data is on the server.`,
        { remedy: 'Check the files that were being written.', cause: error },
      );
    });
  }

  #connect(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const link = connect(this.socket);
      link.once('connect', () => resolve(link));
      link.on('error', (error) => {
        link.destroy();
        reject(
          new CsiError('UNAVAILABLE', `No mounter listens on ${this.socket} (${errorCode(error)}).`, {
            remedy: 'Start "nfs-fuse csi-mounter" there.',
            cause: error,
          }),
        );
      });
    });
  }
}

/** @throws CsiError if the caller's time is over */
function checkAwaited(signal: AbortSignal): void {
  if (signal.aborted)
    throw new CsiError('DEADLINE_EXCEEDED', 'The mount is given up: nobody waits for it any more.');
}
