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
import type { Handed, TakeOverSettings } from '../serve/keeping.js';

/** Those who wait to hear whether this process serves the mount. */
export interface Starter {
  /** The server does not answer yet. */
  waiting(): void;
  /** See TakeOverSettings. */
  mayGoOn(): Promise<Handed | undefined>;
  served(): void;
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
  };
}

/** The other side of a process that goes on. */
export function starterOf({ keeper, giver }: TakeOver): Starter {
  if (giver !== undefined) return startedByGiver(giver);
  return startedByKeeper(keeper);
}

/** `pipe`: to the keeper. Undefined: the user has started this process. */
function startedByKeeper(pipe: number | undefined): Starter {
  let isOpen = pipe !== undefined;
  const tell = (words: string): void => {
    if (pipe === undefined || !isOpen) return;
    try {
      writeSync(pipe, `${words}\n`);
    } catch {
      // The keeper was killed. This process gets one of its own as soon as it serves.
    }
  };
  tell(`pid ${process.pid}`);
  return {
    waiting: () => tell('alive'),
    mayGoOn: () => Promise.resolve(undefined),
    served: () => {
      tell('bye');
      if (isOpen && pipe !== undefined) closeSync(pipe);
      isOpen = false;
    },
    failed: (error, isFinal) => {
      tell(`${isFinal || isHopeless(error) ? 'hopeless' : 'why'} ${reason(error)}`);
      return Promise.resolve();
    },
  };
}

/** `fd`: a socket to the process that hands the mount over. */
function startedByGiver(fd: number): Starter {
  const socket = new Socket({ fd });
  socket.on('error', () => {});
  let heard = '';
  const go = new Promise<Handed>((resolve, reject) => {
    socket.setEncoding('latin1').on('data', (text: string) => {
      heard += text;
      if (heard.endsWith('\n')) resolve(handedIn(heard));
    });
    socket.on('close', () => reject(new Error('the process that was to hand the mount over has ended')));
  });
  go.catch(() => {});
  const last = (line: string) => new Promise<void>((resolve) => socket.end(line, () => resolve()));
  return {
    waiting: () => {},
    mayGoOn: async () => {
      socket.write('ready\n');
      return go;
    },
    served: () => void last('served\n'),
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
