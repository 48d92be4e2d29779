/** Cases of the range matrix about requests that wait: until when, what ends them, and circles of those that wait. */
import { type Case, steps } from './steps.js';

export const WAITS: readonly Case[] = [
  ...['a2', 'b1'].flatMap((who): Case[] => {
    const place = who === 'a2' ? 'another process' : 'another client';
    return [
      {
        name: `${place} waits until all of its range is unlocked`,
        steps: steps(`
        a1 set x 0:10; ${who} wait x 5:10; a1 set u 0:5; a3 picture 0; a1 set u 5:5; ${who} done
        b3 picture 0 5 14 15
      `),
      },
      {
        name: `${place} waits for a shared lock until the holder has gone down to one`,
        steps: steps(`a1 set x 0:10; ${who} wait s 0:10; a1 set s 0:10; ${who} done; b3 picture 0`),
      },
      {
        name: `${place} waits until the holder closes its file`,
        steps: steps(`a1 set x 0:10; ${who} wait x 0:; a1 close f; ${who} done; b3 picture 0`),
      },
      {
        name: `${place} waits until the holder is killed`,
        steps: steps(`a1 set x 0:10; ${who} wait x 0:; a1 kill; ${who} done; b3 picture 0`),
      },
      {
        name: `${place} waits for an OFD lock until the holder is killed`,
        steps: steps(`a1 ofdset x 0:10; ${who} ofdwait x 0:; a1 kill; ${who} done; b3 picture 0`),
      },
      {
        name: `${place} waits for an flock until the holder unlocks`,
        steps: steps(`a1 flock x; ${who} flockwait x; a1 flock u; ${who} done; a3 flock s; b3 flock s`),
      },
      {
        name: `${place} waits for an flock until the holder is killed`,
        steps: steps(`a1 flock x; ${who} flockwait s; a1 kill; ${who} done; a3 flock x; b3 flock s`),
      },
      {
        name: `a signal ends a wait of ${place}, which leaves nothing locked`,
        steps: steps(`
        a1 set x 0:10; ${who} wait x 0:20; ${who} interrupt; b3 picture 10; a1 set u 0:
        b3 soon set x 0:
      `),
      },
      {
        name: `a signal ends a wait of ${place} for an OFD lock`,
        steps: steps(`
        a1 ofdset x 0:10; ${who} ofdwait x 0:20; ${who} interrupt; a1 ofdset u 0:
        b3 soon ofdset x 0:
      `),
      },
      {
        name: `a signal ends a wait of ${place} for an flock`,
        steps: steps(`a1 flock x; ${who} flockwait x; ${who} interrupt; a1 flock u; b3 soon flock x`),
      },
      {
        name: `SIGKILL ends a wait of ${place}, which leaves nothing locked`,
        steps: steps(`a1 set x 0:10; ${who} wait x 0:20; ${who} kill; a1 set u 0:; b3 soon set x 0:`),
      },
      {
        name: `${place} waits to go up from shared to exclusive`,
        steps: steps(`
        a1 set s 0:10; ${who} set s 0:20; ${who} wait x 0:20; b3 picture 0 15; a1 set u 0:10
        ${who} done; b3 picture 0 15
      `),
      },
      {
        name: `a signal ends the wait of ${place} to go up, and what it had is left`,
        steps: steps(`
        a1 set s 0:10; ${who} set s 0:20; ${who} wait x 0:20; ${who} interrupt; a1 set u 0:10
        b3 picture 0 15 20; ${who} set x 0:20; b3 picture 0 15 20
      `),
      },
      {
        name: `two of another process and client wait for a shared lock, and both get it: ${place} is the second`,
        steps: steps(`
        a1 set x 0:; b2 wait s 0:10; ${who} wait s 5:10; a1 set u 0:; b2 done; ${who} done
        a3 picture 0 7 14 15
      `),
      },
    ];
  }),
  {
    name: 'a circle of two processes that wait for each other is refused',
    steps: steps(`
        a1 set x 0:1; a2 set x 1:1; a1 wait x 1:1; a2 wait x 0:1; a2 set u 1:1; a1 done
        b1 picture 0 1
      `),
  },
  {
    name: 'a circle over two files is refused',
    suffixes: ['.other'],
    steps: steps(`
        a1 open g rw .other; a2 open g rw .other; a1 set x 0:; a2 set x 0: g; a1 wait x 0: g
        a2 wait s 9:1; a2 set u 0: g; a1 done
      `),
  },
  {
    name: 'a circle of three processes is refused',
    steps: steps(`
        a1 set x 0:1; a2 set x 1:1; a3 set x 2:1; a1 wait x 1:1; a2 wait x 2:1; a3 wait s 0:1
        a3 set u 2:1; a2 done; a2 set u 1:1; a1 done
      `),
  },
  {
    name: 'a wait that is granted at once',
    steps: steps(`
        a1 wait x 0:10; b1 wait s 10:10; a1 wait s 0:20; b1 picture 0; a2 wait u 0:; a1 wait u 0:
        a2 picture 0 10
      `),
  },
];
