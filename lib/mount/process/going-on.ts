/**
 * A process that goes on with a mount: what it was given, and what it tells those who have started it. Owns the words to the
 * keeper (keep/script.ts) and to the process that hands the mount over (serve/hand-over.ts).
 */
import { closeSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { shownName } from '../../base/shown-name.js';
import { MountError } from '../../fuse/index.js';
import { adoptLiving, RecordMemory, RecordsError } from '../../records/index.js';
import { readFacts } from '../keep/facts.js';
import type { TakeOver } from '../keep/take-over.js';
import type { Handed, TakeOverSettings, TakeOverWords } from '../serve/keeping.js';

/** Those who wait to hear whether this process serves the mount. */
export interface Starter extends TakeOverWords {
  /** Rejects when this process must not go on any more, and has touched nothing so far. */
  readonly abandoned: Promise<never>;
  /** This process will not serve; `isFinal`: and no other one shall try. Resolves when that is told. */
  failed(error: unknown, isFinal: boolean): Promise<void>;
}

/**
 * Opens the state that `asked` names, and reads its facts.
 * @throws RecordsError for a state with which nobody can go on
 */
export function takeOverSettings(asked: TakeOver, starter: Starter): TakeOverSettings {
  const { fuse, state, previous, since, deaths, giver } = asked;
  const memory = giver === undefined ? RecordMemory.adopt(state) : adoptLiving(state);
  return {
    fd: fuse,
    memory,
    facts: readFacts(memory),
    kind: giver === undefined ? 'death' : 'restart',
    previous,
    since,
    deaths,
    waiting: () => starter.waiting(),
    mayGoOn: () => starter.mayGoOn(),
    served: () => starter.served(),
    kept: () => starter.kept(),
    released: () => starter.released(),
  };
}

/** The other side of a process that goes on. */
export function starterOf({ keeper, giver }: TakeOver): Starter {
  const pipe = new KeeperPipe(keeper);
  return giver === undefined ? startedByKeeper(pipe) : startedByGiver(giver, pipe);
}

/** The pipe to the keeper from before. Undefined: there is none. */
class KeeperPipe {
  #fd: number | undefined;

  constructor(fd: number | undefined) {
    this.#fd = fd;
  }

  get isThere(): boolean {
    return this.#fd !== undefined;
  }

  tell(words: string): void {
    if (this.#fd === undefined) return;
    try {
      writeSync(this.#fd, `${words}\n`);
    } catch {
      // The keeper was killed. This process gets one of its own as soon as it serves.
    }
  }

  /** This process has a keeper of its own. */
  dismiss(): void {
    this.tell('bye');
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

function startedByKeeper(pipe: KeeperPipe): Starter {
  pipe.tell(`pid ${process.pid}`);
  return {
    waiting: () => pipe.tell('alive'),
    mayGoOn: () => Promise.resolve(undefined),
    // Its own keeper may come later, and until then that one stays.
    served: () => pipe.tell('alive'),
    kept: () => pipe.dismiss(),
    released: () => pipe.tell('release'),
    abandoned: new Promise<never>(() => {}),
    failed: (error, isFinal) => {
      pipe.tell(`${isFinal || isHopeless(error) ? 'hopeless' : 'why'} ${reason(error)}`);
      return Promise.resolve();
    },
  };
}

/** `fd`: a socket to the process that hands the mount over. `pipe`: to the keeper of that one. */
function startedByGiver(fd: number, pipe: KeeperPipe): Starter {
  const socket = new Socket({ fd });
  socket.on('error', () => {});
  let heard = '';
  let isGiven = false;
  let abandon: (error: Error) => void = () => {};
  const abandoned = new Promise<never>((_, reject) => {
    abandon = reject;
  });
  abandoned.catch(() => {});
  const go = new Promise<Handed>((resolve) => {
    socket.setEncoding('latin1').on('data', (text: string) => {
      heard += text;
      if (!heard.endsWith('\n')) return;
      isGiven = true;
      resolve(handedIn(heard));
    });
    socket.on('close', () => {
      // The keeper waits for the end of this process to start another one.
      if (!isGiven) abandon(new Error('the process that was to hand the mount over has ended'));
    });
  });
  const last = (line: string) => new Promise<void>((resolve) => socket.end(line, () => resolve()));
  return {
    waiting: () => {},
    mayGoOn: async () => {
      socket.write(`${pipe.isThere ? 'keeper\n' : ''}ready\n`);
      return go;
    },
    served: () => void last('served\n'),
    kept: () => pipe.dismiss(),
    released: () => pipe.tell('release'),
    abandoned,
    failed: (error) => last(`failed ${reason(error)}\n`),
  };
}

/** Of the line `go SECONDS BASE64,BASE64…`. */
function handedIn(line: string): Handed {
  const [, since = '', list = ''] = line.trimEnd().split(' ');
  const requests = list === '' ? [] : list.split(',').map((one) => Buffer.from(one, 'base64'));
  return { since: Number(since), requests };
}

/** Whether another process would fail for the same reason. A connection that is over was unmounted meanwhile. */
function isHopeless(error: unknown): boolean {
  return error instanceof RecordsError || (error instanceof MountError && error.code === 'bad-descriptor');
}

/** On one line. Empty: the mount is over, and there is nothing to explain. */
function reason(error: unknown): string {
  if (error instanceof MountError && error.code === 'bad-descriptor') return '';
  const message = error instanceof Error ? error.message : String(error);
  return shownName(message.replace(/\n/g, ' ')).replace(/[.]$/, '');
}
