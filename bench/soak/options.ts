/** The command line of the long run. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { UsageError } from '../options.js';

export const USAGE = `usage: npm run soak -- [options]

Works on one mount for a long time, at less than half a core, through cut connections and server restarts, checks
all that it reads, and says whether the memory of nfs-fuse stays flat. ^C ends it early, with what was measured.

  --minutes N       how long (60)
  --seed N          what the work is made from; a new one each time by default
  -o, --options O   mount options of nfs-fuse, as nfs(5) names them
  --json            the results as JSON on standard output, not as text
  --out FOLDER      where soak.md and soak.svg go; default: docs, and nowhere for less than 30 minutes
`;

/** Shorter runs prove nothing: they do not replace the documents by themselves. */
const DOCUMENTED_FROM = 30;
const MAX_MINUTES = 7 * 24 * 60;

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly mountOptions: readonly string[];
  readonly json: boolean;
  readonly out: string | undefined;
  readonly help: boolean;
}

/** Reads the arguments; `base` is where the documents go by default, `cwd` what paths are relative to. */
export function readSoakOptions(argv: readonly string[], base: string, cwd: string): SoakOptions {
  const values = parse(argv);
  const minutes = Number(values.minutes ?? '60');
  if (!(minutes > 0 && minutes <= MAX_MINUTES)) {
    throw new UsageError(`--minutes ${values.minutes}: a number from 0.1 to ${MAX_MINUTES} is wanted`);
  }
  const seed = Number(values.seed ?? Date.now() % 1_000_000);
  if (!Number.isInteger(seed) || seed < 0) {
    throw new UsageError(`--seed ${values.seed}: a whole number is wanted`);
  }
  const usual = minutes >= DOCUMENTED_FROM ? base : undefined;
  return {
    minutes,
    seed,
    mountOptions: values.options?.split(',').filter((option) => option !== '') ?? [],
    json: values.json === true,
    out: values.out === undefined ? usual : resolve(cwd, values.out),
    help: values.help === true,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        minutes: { type: 'string' },
        seed: { type: 'string' },
        options: { type: 'string', short: 'o' },
        json: { type: 'boolean' },
        out: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
