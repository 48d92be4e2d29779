/** Cases of the range matrix about areas: which are refused, how they are counted, what F_GETLK says of them. */
import { type Case, steps } from './steps.js';

export const AREAS: readonly Case[] = [
  {
    name: 'a lock needs a descriptor that may do the like',
    steps: steps(`
        a1 open g r; a1 open h w; a1 set x 0:1 g; a1 set s 0:1 h; a1 set s 0:1 g; a1 set x 0:1 h
        b1 picture 0; a1 ofdset x 5:1 g; a1 ofdset s 5:1 h; a1 wait x 5:1 g; a1 get x 5:1 g
        b1 picture 5
      `),
  },
  {
    name: 'areas that do not exist are refused',
    steps: steps(`
        a1 set x -1:1; a1 set x 0:-1; a1 set x 5:-6; a1 set x 2^63-1:2; a1 set x 2^62:2^62+1
        a1 set x end-300:5; a1 get u 0:; a1 get x -1:; b1 picture 0
      `),
  },
  {
    name: 'areas are counted from the end, from the position, and backwards',
    steps: steps(`
        a1 set x end:; b1 picture 199 200 2^63-1; a1 set x end-10:5; b1 picture 189 190 194 195
        a1 seek f 50; a1 set x here-5:10; b1 picture 44 45 54 55; a1 set x 30:-10
        b1 picture 19 20 29 30; b1 get x 25:1; b1 get x end:
      `),
  },
  {
    name: 'the end of a file is where its process has written to',
    steps: steps(`a1 write f 200 0123456789; a1 set x end-1:1; b1 picture 208 209 210`),
  },
  {
    name: 'what was locked can be asked for piece by piece',
    steps: steps(`
        a1 set x 0:10; a1 set s 10:10; a1 set x 20:10; a1 set u 13:4; b1 get x 0:; b1 get x 9:2
        b1 get s 10:10; b1 get x 10:3; b1 get x 13:4; b1 get x 14:5; b1 get s 14:; b1 set s 13:4
        a1 get x 0:; a1 set u 0:; b1 get x 0:
      `),
  },
  {
    name: 'neighbours of one kind become one lock',
    steps: steps(`
        a1 set x 0:10; a1 set x 20:10; a1 set x 10:10; b1 get x 0:; a1 set s 5:20; b1 get s 0:
        b1 get x 5:1; a1 set x 5:20; b1 get s 25:1
      `),
  },
];
