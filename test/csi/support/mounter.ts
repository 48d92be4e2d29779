/** `nfs-fuse csi-mounter` as a process of its own, and a driver that asks it without a library. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import {
  answerIn,
  type MounterAnswer,
  nextLine,
  type ServeQuestion,
  type SettleQuestion,
} from '../../../lib/csi/mounter/mounter-protocol.js';
import { sendDescriptor } from '../../../lib/fuse/index.js';
import { descriptorOf } from '../../../lib/mount/reach/socket-descriptor.js';
import type { Place } from '../../support/places.js';
import { type Background, type Outcome, ProgramFailed, start, until } from '../../support/process.js';

export class Mounter {
  readonly socket: string;
  #process: Background | undefined;

  /** It has not begun yet. */
  constructor(
    readonly place: Place,
    readonly stateFolder: string,
    name = 'mounter',
  ) {
    this.socket = join(place.folder, `${name}.sock`);
  }

  /** Starts it (again). */
  async start(): Promise<this> {
    const own = ['csi-mounter', '--socket', this.socket, '--state-folder', this.stateFolder];
    const argv = this.place.command([...this.place.product, ...own]);
    const started = start(argv, { cwd: '/' });
    this.#process = started;
    await until('the mounter is ready', () => {
      if (started.outcome) throw new ProgramFailed(argv, started.outcome, 'ended instead of listening');
      return started.output.includes('; ready.');
    });
    return this;
  }

  get output(): string {
    return this.#running.output;
  }

  get pid(): number {
    return this.#running.pid;
  }

  get ended(): Promise<Outcome> {
    return this.#running.ended;
  }

  get hasEnded(): boolean {
    return this.#running.outcome !== undefined;
  }

  /** Of it alone, and not of the processes that it has started. */
  signal(signal: NodeJS.Signals): void {
    this.#running.child.kill(signal);
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  get #running(): Background {
    if (this.#process === undefined) throw new Error('the mounter was never started');
    return this.#process;
  }
}

/** Asks a mounter, with a descriptor if one is given. Undefined: it gives no answer. */
export async function ask(
  socket: string,
  question: ServeQuestion | SettleQuestion,
  descriptor?: number,
): Promise<MounterAnswer | undefined> {
  const link = connect(socket);
  await once(link, 'connect');
  try {
    const fd = descriptorOf(link) ?? -1;
    if (descriptor === undefined) link.write('.');
    else if (sendDescriptor(fd, descriptor) !== 1) throw new Error('the descriptor cannot be sent');
    link.write(`${JSON.stringify(question)}\n`);
    return answerIn(await nextLine(link));
  } finally {
    link.destroy();
  }
}
