/** Cases of the range matrix about processes and descriptors: fork, dup, close, and the end of a process. */
import { type Case, steps } from './steps.js';

export const PROCESSES: readonly Case[] = [
  {
    name: 'a forked child has none of its parent’s fcntl locks',
    steps: steps(`
        a1 set x 0:10; a1 fork a2; a2 get x 0:10; a2 set s 0:1; a2 set x 20:10; a1 get x 0:
        a2 close f; b1 picture 0 9 10 20; a1 set u 0:10; b1 picture 0 9 10 20
      `),
  },
  {
    name: 'fcntl locks end with the process that took them, though its child has the descriptor',
    steps: steps(`a1 set x 0:; a1 fork a2; b1 set s 0:; a1 exit; b1 set s 0:; a2 set x 5:1; a2 set s 5:1`),
  },
  {
    name: 'the end of a forked child leaves its parent’s fcntl locks',
    steps: steps(`a1 set x 0:10; a1 fork a2; a2 exit; b1 picture 0 9 10; a3 picture 0 9 10`),
  },
  {
    name: 'an OFD lock is shared by fork, and ends with the last descriptor',
    steps: steps(`
        a1 ofdset x 0:10; a1 fork a2; a2 ofdset s 0:10; b1 picture 0 9 10; a1 close f
        b1 picture 0 9 10; a2 ofdset x 0:10; b1 picture 0 9 10; a2 close f; b1 soon set x 0:
      `),
  },
  {
    name: 'an flock is shared by fork: the child may end it',
    steps: steps(`a1 flock x; a1 fork a2; b1 flock s; a2 flock u; b1 flock s; a1 flock x; a1 flock s`),
  },
  {
    name: 'an flock that is shared by fork outlives its first owner',
    steps: steps(`a1 flock x; a1 fork a2; a1 kill; b1 flock s; a3 flock s; a2 close f; b1 soon flock x`),
  },
  ...['set x 10:20', 'set s 10:20', 'ofdset x 10:20', 'flock x'].map(
    (lock): Case => ({
      name: `SIGKILL ends what was held: ${lock}`,
      steps: steps(`
        a1 ${lock}; b1 ${lock.replace(' s ', ' x ')}; a1 kill; b1 soon ${lock.replace(' s ', ' x ')}
        a2 ${lock}
      `),
    }),
  ),
];

export const DESCRIPTORS: readonly Case[] = [
  ...['f', 'g'].map(
    (closed): Case => ({
      name: `close of any duplicate ends fcntl locks: ${closed === 'f' ? 'the original' : 'the copy'}`,
      steps: steps(
        `a1 dup g f; a1 set x 0:10; b1 set x 0:10; a1 close ${closed}; b1 set x 0:10; a2 get x 0:`,
      ),
    }),
  ),
  {
    name: 'close of another descriptor of the file ends fcntl locks',
    steps: steps(`a1 open g r; a1 set x 0:10; a1 set s 20:10; b1 picture 0 20; a1 close g; b1 picture 0 20`),
  },
  {
    name: 'close of a descriptor by another name of the file ends fcntl locks',
    steps: steps(`a1 link .link; a1 open g r .link; a1 set x 0:10; b1 picture 0; a1 close g; b1 picture 0`),
  },
  {
    name: 'another name is the same file',
    steps: steps(`
        a1 link .link; a2 open g rw .link; b1 open g rw .link; a1 set x 0:10; a2 set s 5:1 g
        b1 set s 5:1 g
      `),
  },
  {
    name: 'close of a descriptor of another file ends nothing',
    suffixes: ['.other'],
    steps: steps(`
        a1 open g rw .other; a1 set x 0:10; a1 set x 0:10 g; a1 close g; b1 picture 0 10
        b1 open g rw .other; b1 set x 0: g
      `),
  },
  {
    name: 'close by another process ends nothing',
    steps: steps(`a1 set x 0:10; a2 set x 20:10; a2 close f; b1 picture 0 20`),
  },
  {
    name: 'OFD locks belong to the open file: another descriptor of the process is another owner',
    steps: steps(`
        a1 open g rw; a1 ofdset x 0:10; a1 ofdset x 5:10 g; a1 ofdget x 5:10 g; a1 ofdset s 10:10 g
        b1 picture 0 9 10 19 20; a1 close g; b1 soon set x 10:10; b1 picture 0 9 20
      `),
  },
  {
    name: 'OFD locks are shared by duplicates and end with the last of them',
    steps: steps(`
        a1 dup g f; a1 ofdset x 0:10; a1 ofdset s 0:10 g; a1 close f; b1 picture 0 9; a1 close g
        b1 soon set x 0:10
      `),
  },
  {
    name: 'fcntl and OFD locks of one process stand against each other',
    steps: steps(`
        a1 set x 0:10; a1 ofdset s 5:1; a1 ofdset x 20:10; a1 set x 20:1; a1 set s 25:10
        b1 picture 0 20 30
      `),
  },
  {
    name: 'an flock is of the open file: a duplicate shares it, another descriptor does not',
    steps: steps(`
        a1 dup g f; a1 open h rw; a1 flock x; a1 flock s h; a1 flock s g; a1 flock s h; a1 close f
        b1 flock x; a1 close h; a1 close g; b1 soon flock x
      `),
  },
  {
    name: 'a removed file stays locked for those who have it open',
    steps: steps(`
        a1 set x 0:10; a2 get x 0:1; a1 unlink; a2 set s 0:1; a2 set x 10:1; a1 set u 0:
        a2 set x 0:1
      `),
  },
];
