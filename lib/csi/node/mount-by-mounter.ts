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

export class MountByMounter implements Mounting {
  /** Places whose mount has ended well, and about which nothing is to be asked again: the mounter may end with its last mount. */
  readonly #settled = new Set<string>();

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

  async end(target: PublishTarget, entry: MountEntry): Promise<void> {
    // Without a mounter nobody could tell whether everything is written back.
    (await this.#connect()).destroy();
    try {
      await unmountEntry(entry);
    } catch (error) {
      throw fuseFailure(error, 'See who uses it with "fuser -vm".');
    }
    const link = await this.#connect().catch((error: unknown) => {
      throw new CsiError(
        'UNAVAILABLE',
        `${target.path} is unmounted. Its mounter has ended before it could tell whether all data is on the server.`,
        { remedy: 'Check the files that were being written.', cause: error },
      );
    });
    await this.#settle(target, link);
    this.#settled.add(target.path);
  }

  async settled(target: PublishTarget): Promise<void> {
    if (this.#settled.delete(target.path)) return;
    let link: Socket;
    try {
      link = await this.#connect();
    } catch (error) {
      // The mounts of a mounter that has ended are over.
      this.tell('warn', error instanceof Error ? error.message : String(error));
      return;
    }
    await this.#settle(target, link);
  }

  async #settle({ path }: PublishTarget, link: Socket): Promise<void> {
    const question: SettleQuestion = { settle: { place: path } };
    try {
      // Any byte: no descriptor comes along.
      link.write(`.${JSON.stringify(question)}\n`);
      const answer = await this.#answer(link);
      if (answer.note !== undefined) this.tell('warn', answer.note);
    } finally {
      link.destroy();
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
  async #answer(link: Socket): Promise<Extract<MounterAnswer, { readonly done: true }>> {
    const answer = answerIn(await nextLine(link));
    if (answer === undefined)
      throw new CsiError('UNAVAILABLE', `The mounter at ${this.socket} has ended, or gives no answer.`);
    if ('failed' in answer) throw new ToldFailure(answer.kind, answer.failed);
    return answer;
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
