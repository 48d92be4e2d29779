/** The benchmark's command line. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { BEFORE, BEFORE_ROOTLESS, OURS, ROOTLESS_DIRECT } from './model.js';

export const USAGE = `usage: npm run bench -- [options]

Measures nfs-fuse beside the local directory, sshfs and libnfs, on servers that it starts itself.
Run it as root, on a machine that does nothing else.

  --dir NAME=PATH   one more peer: a directory where something is mounted; may be repeated
  --peers A,B       only these of local, durable, sshfs, libnfs, kernel, rootless
  --rows A,B        only rows whose names start so; an unknown name lists them
  --runs N          runs of each row after the warm-up (3; with --quick 1)
  --quick           an eighth of the work, timed through the relay that counts calls: to see that everything works
  -o, --options O   mount options of nfs-fuse, as nfs(5) names them
  --disk KIND       where servers and the local directory keep files: folder (of the machine's file system) or image
                    (an ext4 file system of its own on a loop device, the default)
  --json            the results as JSON on standard output, not as a table
  --out FOLDER      where benchmark.md, .svg and .json go; default: docs, and nowhere with --quick, --rows, --peers
                    or an --rtt whose least is not 0
  --continue        go on with a measurement that was broken off: the rows that --out has of it (benchmark.partial.json)
                    are not measured again. All other options have to be the same
  --from FILE       measure nothing: make the documents again from an earlier run's benchmark.json
  --rtt MS,…        put servers at these distances: round trips take so much longer, by a relay without a limit of
                    bandwidth. 0 is no relay; usual are 0, 0.2, 1 and 10. With several, each row also says how many round
                    trips an operation waits for, one after the other: 0,10 is best for that
  --node NAME=FILE  another node program that runs nfs-fuse, too: all rows as root; may be repeated
  --before FOLDER   an older clone of nfs-fuse, built, that is measured too: all rows as root, streams rootless

usage: npm run profile -- [options] [ROW…]

Says where the time of the rows goes, per operation: server, client by what it does, waiting. Takes --quick, --runs,
-o, --json and --out (default: docs, and nowhere with --quick or rows named).
`;

export const PEERS = ['local', 'durable', 'sshfs', 'libnfs', 'kernel', 'rootless'] as const;
export type PeerName = (typeof PEERS)[number];

const DISKS = ['folder', 'image'] as const;
export type DiskKind = (typeof DISKS)[number];

export interface BenchOptions {
  readonly folders: readonly { readonly name: string; readonly path: string }[];
  /** Other node programs that run nfs-fuse. */
  readonly nodes: readonly { readonly name: string; readonly path: string }[];
  readonly peers: readonly PeerName[];
  readonly rows: readonly string[] | undefined;
  readonly runs: number;
  readonly quick: boolean;
  readonly mountOptions: readonly string[];
  readonly disk: DiskKind;
  readonly json: boolean;
  readonly out: string | undefined;
  /** Rows that are already there are left out. */
  readonly goesOn: boolean;
  readonly from: string | undefined;
  readonly before: string | undefined;
  /** Milliseconds that the ways to the servers add to each round trip, ascending; 0: no relay. Empty: only that. */
  readonly rttMs: readonly number[];
  /** Print USAGE, and do nothing else. */
  readonly help: boolean;
}

/** Something on the command line is wrong; the message says what. */
export class UsageError extends Error {}

const list = (text: string | undefined) => text?.split(',').filter((item) => item !== '');

/** Reads the arguments; `base` is where the documents go by default, `cwd` what paths are relative to. */
export function readOptions(argv: readonly string[], base: string, cwd: string): BenchOptions {
  const { values } = parse(argv);
  const folders = namedPaths('--dir', values.dir, cwd);
  const nodes = namedPaths('--node', values.node, cwd);
  const names = [
    ...[...folders, ...nodes].map(({ name }) => name),
    ...PEERS,
    OURS,
    ROOTLESS_DIRECT,
    BEFORE,
    BEFORE_ROOTLESS,
  ];
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`--dir, --node: the name ${twice} is taken`);
  const chosen = list(values.peers);
  const unknown = chosen?.find((name) => !PEERS.some((peer) => peer === name));
  if (unknown !== undefined) throw new UsageError(`--peers ${unknown}: there are ${PEERS.join(', ')}`);
  const rttMs = rttsOf(values.rtt);
  if (values.continue === true && values.out === undefined)
    throw new UsageError('--continue: name the folder of what was measured with --out');
  const partial =
    values.quick === true || values.rows !== undefined || values.peers !== undefined || (rttMs[0] ?? 0) > 0;
  return {
    folders,
    nodes,
    peers: PEERS.filter((peer) => chosen?.includes(peer) ?? true),
    rows: list(values.rows),
    runs: runsOf(values.runs, values.quick),
    quick: values.quick === true,
    mountOptions: list(values.options) ?? [],
    disk: diskOf(values.disk),
    json: values.json === true,
    out: values.out === undefined ? (partial ? undefined : base) : resolve(cwd, values.out),
    goesOn: values.continue === true,
    from: values.from === undefined ? undefined : resolve(cwd, values.from),
    before: values.before === undefined ? undefined : resolve(cwd, values.before),
    rttMs,
    help: values.help === true,
  };
}

/** "NAME=PATH", several times. */
function namedPaths(option: string, texts: readonly string[] | undefined, cwd: string) {
  return (texts ?? []).map((text) => {
    const match = /^([\w.-]+)=(.+)$/.exec(text);
    if (match?.[1] === undefined || match[2] === undefined) {
      throw new UsageError(`${option} ${text}: write NAME=PATH, the name of letters, digits, "." and "-"`);
    }
    return { name: match[1], path: resolve(cwd, match[2]) };
  });
}

/** "0,0.2,1ms" -> [0, 0.2, 1]. */
function rttsOf(text: string | undefined): number[] {
  const values = (list(text) ?? []).map((one) => {
    const number = /^(\d+(?:\.\d+)?)(?:ms)?$/.exec(one)?.[1];
    if (number !== undefined && Number(number) <= 1000) return Number(number);
    throw new UsageError(`--rtt ${one}: milliseconds from 0 to 1000 are wanted, as in 0,0.2,10ms`);
  });
  return [...new Set(values)].sort((a, b) => a - b);
}

function runsOf(given: string | undefined, quick: boolean | undefined): number {
  const text = given ?? (quick === true ? '1' : '3');
  const runs = Number(text);
  if (Number.isInteger(runs) && runs >= 1 && runs <= 100) return runs;
  throw new UsageError(`--runs ${text}: a whole number from 1 to 100 is wanted`);
}

function diskOf(text = 'image'): DiskKind {
  const kind = DISKS.find((name) => name === text);
  if (kind === undefined) throw new UsageError(`--disk ${text}: there are ${DISKS.join(', ')}`);
  return kind;
}

export interface ProfileOptions {
  readonly rows: readonly string[] | undefined;
  readonly runs: number;
  readonly quick: boolean;
  readonly mountOptions: readonly string[];
  readonly disk: DiskKind;
  readonly json: boolean;
  readonly out: string | undefined;
  readonly help: boolean;
}

/** The same for `npm run profile`. */
export function readProfileOptions(argv: readonly string[], base: string, cwd: string): ProfileOptions {
  const { values, positionals } = parse(argv, true);
  const foreign = ['dir', 'peers', 'rows', 'continue', 'from', 'before', 'node', 'rtt'].find(
    (name) => name in values,
  );
  if (foreign !== undefined) throw new UsageError(`--${foreign} is an option of npm run bench`);
  const partial = values.quick === true || positionals.length > 0;
  return {
    rows: positionals.length > 0 ? positionals : undefined,
    runs: runsOf(values.runs, values.quick),
    quick: values.quick === true,
    mountOptions: list(values.options) ?? [],
    disk: diskOf(values.disk),
    json: values.json === true,
    out: values.out === undefined ? (partial ? undefined : base) : resolve(cwd, values.out),
    help: values.help === true,
  };
}

function parse(argv: readonly string[], positionals = false) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: positionals,
      options: {
        dir: { type: 'string', multiple: true },
        peers: { type: 'string' },
        rows: { type: 'string' },
        runs: { type: 'string' },
        disk: { type: 'string' },
        quick: { type: 'boolean' },
        options: { type: 'string', short: 'o' },
        json: { type: 'boolean' },
        out: { type: 'string' },
        continue: { type: 'boolean' },
        from: { type: 'string' },
        before: { type: 'string' },
        node: { type: 'string', multiple: true },
        rtt: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
