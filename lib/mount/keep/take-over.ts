/**
 * The environment of a process that is to go on with a mount: which descriptors it has, and what the keeper (script.ts) or
 * the process that hands the mount over knows of its past. Owns the form of NFS_FUSE_TAKE_OVER: words `name=value`.
 */
import { readFileSync } from 'node:fs';

const VARIABLE = 'NFS_FUSE_TAKE_OVER';
/** Variables that the keeper has set for itself. */
const OF_THE_SHELL =
  /^NFS_FUSE_(?:WATCH|WAKER|SERVES|WHERE|PID|JOURNAL|LOCKS|SIGNALS|NODE|MAIN|KEEPS|MOUNTED|VAIN|SCORE)$/;
const ALSO_OF_THE_SHELL = /^NFS_FUSE_(?:DEATHS|DIED_AT|LOWER|START|TOLD|LOUD|INHERITED|TAKE_OVER)$/;

/** How a process serves a mount: at a terminal, behind it, or for `nfs-fuse exec`. */
export type KeptRole = 'foreground' | 'background' | 'attached';

export interface TakeOver {
  /** Descriptor of /dev/fuse, past INIT. */
  readonly fuse: number;
  /** Descriptor of the state. */
  readonly state: number;
  readonly role: KeptRole;
  /** The pipe to the keeper that has started this process, or that keeps the mount of the process that hands over. Undefined: there is none. */
  readonly keeper: number | undefined;
  /** A socket to the process that hands the mount over. Undefined: that process has died. */
  readonly giver: number | undefined;
  /** A socket to the process that runs a command for the time of which the mount is there (`nfs-fuse exec`). */
  readonly owner: number | undefined;
  /** See Told. */
  readonly score: number | undefined;
  /** The process that served the mount before. */
  readonly previous: number;
  /** When that ended, in seconds since the machine was started. Of no meaning for a process that hands over. */
  readonly since: number;
  /** When processes of this mount have died lately, in the keeper's words. */
  readonly deaths: string;
}

/** The facts that are told to the next process, whoever starts it. */
export interface Told {
  readonly role: KeptRole;
  readonly owner: number | undefined;
  /** By which the kernel chose processes to end for want of memory before the first one of this mount changed its own. */
  readonly score: number | undefined;
}

/** The words of the variable that stay the same from one process to the next. */
export function toldWords({ role, owner, score }: Told): string {
  const words = [`role=${role}`];
  if (owner !== undefined) words.push(`owner=${owner}`);
  if (score !== undefined) words.push(`score=${score}`);
  return words.join(' ');
}

/** The value of the variable for a process to which this one hands its mount over. */
export function handOverWords(hands: Told & Pick<TakeOver, 'fuse' | 'state' | 'giver' | 'keeper'>): string {
  const { fuse, state, giver, keeper } = hands;
  const kept = keeper === undefined ? '' : `keeper=${keeper} `;
  return `fuse=${fuse} state=${state} giver=${giver} ${kept}died=${process.pid} ${toldWords(hands)}`;
}

/** The name of the variable, for the environment of a process that is started. */
export function takeOverEnvironment(text: string): NodeJS.ProcessEnv {
  return { ...environmentWithoutKeeper(), [VARIABLE]: text };
}

/**
 * The mount that this process is to go on with. Undefined: it was started to make a mount. The variables of the keeper are gone
 * afterwards, so that other programs do not get them.
 */
export function takeOverAsked(): TakeOver | undefined {
  const text = process.env[VARIABLE];
  for (const name of Object.keys(process.env)) if (isOfTheKeeper(name)) delete process.env[name];
  if (text === undefined) return undefined;
  const words = new Map(text.split(' ').map((word) => pair(word)));
  const number = (name: string, form = /^\d+(\.\d+)?$/): number | undefined => {
    const value = words.get(name);
    return value === undefined || !form.test(value) ? undefined : Number(value);
  };
  const fuse = number('fuse');
  const state = number('state');
  if (fuse === undefined || state === undefined) return undefined;
  const role = (['foreground', 'background', 'attached'] as const).find((one) => one === words.get('role'));
  return {
    fuse,
    state,
    role: role ?? 'background',
    keeper: number('keeper'),
    giver: number('giver'),
    owner: number('owner'),
    score: number('score', /^-?\d+$/),
    previous: number('died') ?? 0,
    since: number('at') ?? secondsSinceStart(),
    deaths: words.get('deaths') ?? '',
  };
}

/** The environment of this process as the user gave it. */
export function environmentWithoutKeeper(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !isOfTheKeeper(name)));
}

/** The clock of the keeper, which has no other one in milliseconds. */
export function secondsSinceStart(): number {
  return Number(readFileSync('/proc/uptime', 'latin1').split(' ', 1)[0]);
}

function pair(word: string): readonly [string, string] {
  const [name = '', value = ''] = word.split('=', 2);
  return [name, value];
}

function isOfTheKeeper(name: string): boolean {
  return OF_THE_SHELL.test(name) || ALSO_OF_THE_SHELL.test(name);
}
