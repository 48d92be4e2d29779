/** Cases of the range matrix about flock: kinds against each other, and against fcntl and OFD locks. */
import { type Case, steps } from './steps.js';

/** flock of two open files, by every pair of kinds. */
export const FLOCKS: readonly Case[] = [
  ...['a2', 'b1'].flatMap((who) =>
    ['s', 'x'].flatMap((held) =>
      ['s', 'x'].map(
        (wanted): Case => ({
          name: `flock ${held} is held, ${who === 'a2' ? 'another process' : 'another client'} wants ${wanted}`,
          steps: steps(`
        a1 flock ${held}; ${who} flock ${wanted}; b3 flock s; b3 flock u; a1 flock u
        ${who} flock ${wanted}; b3 flock s; ${who} close f; b3 soon flock x
      `),
        }),
      ),
    ),
  ),
  {
    name: 'an flock goes up and down',
    steps: steps(`
        a1 flock s; b1 flock s; b1 flock u; a1 flock x; b1 flock s; a2 flock s; a1 flock s
        b1 flock s; a2 flock x
      `),
  },
  {
    name: 'an flock needs no right to write, and none to read',
    steps: steps(`
        a1 open g r; a1 flock x g; b1 flock s; a1 flock u g; b1 open g w; b1 flock s g; a1 flock s g
        a1 flock x g
      `),
  },
  {
    name: 'flock ends at the last close only',
    steps: steps(`a1 open g rw; a1 flock x; a1 close g; b1 flock s; a1 close f; b1 soon flock x`),
  },
];

/** Cases whose answers on a network file system are others than on a local one: see differences.ts. */
export const KINDS_TOGETHER: readonly Case[] = [
  {
    name: 'flock and fcntl locks of one process',
    steps: steps(`a1 flock x; a1 set x 0:10; a1 flock u; a1 set x 0:20; a1 flock s; a1 set u 0:; a1 flock x`),
  },
  {
    name: 'flock of one process, fcntl of another',
    steps: steps(`a1 flock s; a2 set s 0:10; a2 set x 20:10; a1 flock u; a2 set x 20:20; a2 get x 0:`),
  },
  {
    name: 'flock on one client, fcntl on another',
    steps: steps(`
        a1 flock s; b1 set s 0:10; b1 set x 20:10; b1 get x 0:; a1 flock u; b1 set x 20:20
        a1 flock x
      `),
  },
  {
    name: 'flock and OFD locks of one open file',
    steps: steps(`
        a1 flock x; a1 ofdset s 0:10; a1 flock u; a1 ofdset x 0:10; a1 flock s; a1 close f
        b1 soon set x 0:
      `),
  },
  {
    name: 'a refused way up from a shared flock',
    steps: steps(`a1 flock s; b1 flock s; a1 flock x; b1 flock x; a2 flock s`),
  },
  {
    name: 'the process of an OFD lock',
    steps: steps(`a1 ofdset x 0:10; a2 get x 0:; b1 get x 0:; a1 get s 0:; a2 ofdget x 0:`),
  },
  {
    name: 'the process of an fcntl lock, asked for by OFD',
    steps: steps(`a1 set x 0:10; a2 ofdget x 0:; b1 ofdget x 0:; a1 ofdget s 0:; a2 get x 0:`),
  },
];
