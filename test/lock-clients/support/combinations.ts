/**
 * Every combination of a lock that is held and a lock that is wanted: kinds, where they meet, and by whom the second is wanted.
 * After each step the whole picture is taken, from another process and from another client.
 */

import type { Case } from './steps.js';
import { parseArea, showNumber } from './steps.js';

/** A lock that is held, and where another is wanted. */
const AREAS: Readonly<Record<string, readonly string[]>> = {
  '100:10': [
    ...[
      '80:10',
      '90:10',
      '95:10',
      '100:10',
      '103:4',
      '95:20',
      '105:10',
      '110:10',
      '120:10',
      '100:1',
      '109:1',
    ],
    ...['105:', '50:', '0:', '110:', '0:100'],
  ],
  '100:': ['0:100', '0:101', '100:', '200:10', '2^62+5:10', '2^63-1:1', '0:'],
  '2^62+100:10': [
    '2^62+90:10',
    '2^62+95:10',
    '2^62+103:4',
    '2^62+109:',
    '2^62+110:10',
    '100:10',
    '0:2^62+100',
    '0:',
  ],
  '2^63-11:10': ['2^63-12:1', '2^63-2:1', '2^63-1:1', '2^63-5:', '2^62:'],
  '2^63-1:1': ['2^63-1:1', '2^63-2:1', '2^63-2:', '0:'],
};

const LAST = 2n ** 63n - 1n;

/** The bytes at which something may change between two areas. */
function pointsAround(...areas: readonly string[]): string[] {
  const points = areas.flatMap((text) => {
    const { start, length } = parseArea(text);
    const end = length === 0n ? LAST : start + length - 1n;
    return [start - 1n, start, end, end + 1n];
  });
  const possible = [...new Set(points)].filter((point) => point >= 0n && point <= LAST);
  return possible.sort((one, other) => (one < other ? -1 : 1)).map(showNumber);
}

/** The commands of fcntl locks, and of OFD locks. */
const FAMILIES = { fcntl: ['set', 'get'], OFD: ['ofdset', 'ofdget'] } as const;
type Family = keyof typeof FAMILIES;

function against(family: Family, [held, area]: Pair, [wanted, there]: Pair, who: string): Case {
  const [set, get] = FAMILIES[family];
  const points = pointsAround(area, there).join(' ');
  const relation = who === 'b1' ? 'another client' : 'another process';
  return {
    name: `${family}: ${held} ${area} is held, ${relation} wants ${wanted} ${there}`,
    steps: [
      `a1 ${set} ${held} ${area}`,
      `${who} ${get} ${wanted} ${there}`,
      `${who} ${set} ${wanted} ${there}`,
      `a2 ${get} x ${area}`,
      `a3 picture ${points}`,
      `b3 picture ${points}`,
      `a1 ${set} u ${area}`,
      `${who} ${set} ${wanted} ${there}`,
      `b3 picture ${points}`,
      `${who} close f`,
      `b3 soon set x 0:`,
    ],
  };
}

function own(family: Family, [held, area]: Pair, [wanted, there]: Pair): Case {
  const [set, get] = FAMILIES[family];
  const points = pointsAround(area, there).join(' ');
  return {
    name: `${family}: ${held} ${area} is held, its owner wants ${wanted} ${there}`,
    steps: [
      `a1 ${set} ${held} ${area}`,
      ...(wanted === 'u' ? [] : [`a1 ${get} ${wanted} ${there}`]),
      `a1 ${set} ${wanted} ${there}`,
      `a3 picture ${points}`,
      `b3 picture ${points}`,
      `a1 ${set} u ${area}`,
      `b3 picture ${points}`,
      `a1 close f`,
      `b3 soon set x 0:`,
    ],
  };
}

type Pair = readonly [kind: string, area: string];

function ofFamily(family: Family): Case[] {
  return Object.entries(AREAS).flatMap(([area, wanted]) =>
    wanted.flatMap((there) =>
      ['s', 'x'].flatMap((held) => [
        ...['s', 'x'].flatMap((kind) =>
          ['a2', 'b1'].map((who) => against(family, [held, area], [kind, there], who)),
        ),
        ...['s', 'x', 'u'].map((kind) => own(family, [held, area], [kind, there])),
      ]),
    ),
  );
}

export const COMBINATIONS: readonly Case[] = [...ofFamily('fcntl'), ...ofFamily('OFD')];
