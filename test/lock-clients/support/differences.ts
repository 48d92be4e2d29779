/** Answers that are others on an NFS mount than on a local file system, and why. */
import type { Difference } from './judge.js';

const KINDS =
  'an NFSv3 server knows one kind of lock: flock, fcntl and OFD locks stand against each other, as with Linux’s own client';
const PID =
  'FUSE does not say whether a lock is an OFD lock: F_GETLK names its process, F_OFD_GETLK never names one';

/** On every server. */
const ALWAYS: readonly Difference[] = [
  ...[
    ['flock and fcntl locks of one process', 'a1 set x 0:10'],
    ['flock and fcntl locks of one process', 'a1 flock s'],
    ['flock of one process, fcntl of another', 'a2 set x 20:10'],
    ['flock on one client, fcntl on another', 'b1 set x 20:10'],
    ['flock on one client, fcntl on another', 'a1 flock x'],
    ['flock and OFD locks of one open file', 'a1 ofdset s 0:10'],
    ['flock and OFD locks of one open file', 'a1 flock s'],
  ].map(([of = '', step = '']) => ({ of, step, local: 'granted', there: 'EAGAIN', reason: KINDS })),
  {
    of: 'a refused way up from a shared flock',
    step: 'b1 flock x',
    there: 'EAGAIN',
    reason:
      'a local flock that is refused the way up has lost what it had; here it keeps it, as with Linux’s own client',
  },
  { of: 'a refused way up from a shared flock', step: 'a2 flock s', there: 'granted', reason: 'the same' },
  ...[
    ['the process of an OFD lock', 'a2 get x 0:', 'x 0:10 by a1'],
    ['the process of an OFD lock', 'b1 get x 0:', 'x 0:10 by another client'],
    ['the process of an OFD lock', 'a1 get s 0:', 'x 0:10 by a1'],
    ['the process of an fcntl lock, asked for by OFD', 'a2 ofdget x 0:', 'x 0:10 by an open file'],
    ['the process of an fcntl lock, asked for by OFD', 'b1 ofdget x 0:', 'x 0:10 by an open file'],
    ['the process of an fcntl lock, asked for by OFD', 'a1 ofdget s 0:', 'x 0:10 by an open file'],
  ].map(([of = '', step = '', there = '']) => ({ of, step, there, reason: PID })),
];

/** Every byte can be had as on a local file system, but for some that can be had shared there and not at all here. */
function isStricter(answer: string, local: string): boolean {
  const theirs = local.split(' ');
  const ours = answer.split(' ');
  return (
    ours.length === theirs.length &&
    ours.every((byte, at) => byte === theirs[at] || byte === theirs[at]?.replace(/s$/, '-'))
  );
}

/** On servers whose TEST tells of shared locks. */
const TELLING: readonly Difference[] = [
  {
    of: 'flock on one client, fcntl on another',
    step: 'b1 get x 0:',
    there: 's 0: by another client',
    reason: KINDS,
  },
];

const GANESHA: readonly Difference[] = [
  ...[
    /: x (?:\S+:|2\^63-1:1) is held, its owner wants s /,
    /: x \S+ is held, its owner wants s (?:\S+:|2\^63-1:1)$/,
  ].map((of) => ({
    of,
    step: /picture/,
    there: isStricter,
    reason:
      'nfs-ganesha 4.3 goes on refusing others after a way down, where the old or the new lock reaches to the end of all files',
  })),
];

const KNFSD: readonly Difference[] = [
  {
    of: /./,
    step: /get x/,
    local: /^s \S+ by (?:another client|an open file)$/,
    there: (answer, local) => answer === 'free' || answer === local,
    reason: 'Linux’s server, 6.1.176 and 6.12.113, does not look at the kind of lock that TEST asks for',
  },
];

/** Where the first client is Linux's own one: its answers on its own server, differences from the others. */
const LINUX_FIRST: readonly Difference[] = [
  {
    of: /./,
    step: /^a\d ofdget/,
    local: / by /,
    there: (answer, local) => answer.replace(/ by .*/, '') === local.replace(/ by .*/, ''),
    reason: 'Linux’s client names the process of an OFD lock',
  },
  ...['a1 ofdset s 0:10', 'a1 flock s'].map((step) => ({
    of: 'flock and OFD locks of one open file',
    step,
    there: 'granted',
    reason: 'Linux’s client locks both in the name of one owner, so that the end of one ends the other',
  })),
];

export type LockServer = 'embedded' | 'ganesha' | 'knfsd';

const OF_SERVER: Readonly<Record<LockServer, readonly Difference[]>> = {
  embedded: TELLING,
  ganesha: [...TELLING, ...GANESHA],
  knfsd: KNFSD,
};

/** The differences that are expected on Linux's own server where the first client is Linux's. */
export const DIFFERENCES_OF_LINUX: readonly Difference[] = [...LINUX_FIRST, ...KNFSD, ...ALWAYS];

/** The differences that are expected on a server. */
export function differencesOn(server: LockServer): readonly Difference[] {
  return [...ALWAYS, ...OF_SERVER[server]];
}
