/** The benchmark's command line. */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';

export const USAGE = `usage: npm run bench -- [options]

Measures nfs-fuse beside the local directory, sshfs and libnfs, on servers that it starts itself.
Run it as root, on a machine that does nothing else.

  --dir NAME=PATH   one more peer: a directory where something is mounted; may be repeated
  --peers A,B       only these of local, sshfs, libnfs, rootless
  --rows A,B        only rows whose names start so; an unknown name lists them
  --runs N          runs of each row after the warm-up (3)
  --quick           an eighth of the work, to see that everything works
  -o, --options O   mount options of nfs-fuse, as nfs(5) names them
  --json            the results as JSON on standard output, not as a table
  --out FOLDER      where benchmark.md, .svg and .json go; default: docs, and nowhere with --quick, --rows or --peers
  --from FILE       measure nothing: make the documents again from an earlier run's benchmark.json
  --profile FOLDER  run nfs-fuse under V8's CPU profiler, and leave the profiles there
`;

export const PEERS = ['local', 'sshfs', 'libnfs', 'rootless'] as const;
export type PeerName = (typeof PEERS)[number];

export interface BenchOptions {
  readonly folders: readonly { readonly name: string; readonly path: string }[];
  readonly peers: readonly PeerName[];
  readonly rows: readonly string[] | undefined;
  readonly runs: number;
  readonly quick: boolean;
  readonly mountOptions: readonly string[];
  readonly json: boolean;
  readonly out: string | undefined;
  readonly from: string | undefined;
  readonly profile: string | undefined;
  /** Print USAGE, and do nothing else. */
  readonly help: boolean;
}

/** Something on the command line is wrong; the message says what. */
export class UsageError extends Error {}

const list = (text: string | undefined) => text?.split(',').filter((item) => item !== '');

/** Reads the arguments; `base` is where the documents go by default, `cwd` what paths are relative to. */
export function readOptions(argv: readonly string[], base: string, cwd: string): BenchOptions {
  const { values } = parse(argv);
  const runs = Number(values.runs ?? '3');
  if (!Number.isInteger(runs) || runs < 1 || runs > 100) {
    throw new UsageError(`--runs ${values.runs}: a whole number from 1 to 100 is wanted`);
  }
  const folders = (values.dir ?? []).map((text) => {
    const match = /^([\w.-]+)=(.+)$/.exec(text);
    if (match?.[1] === undefined || match[2] === undefined) {
      throw new UsageError(`--dir ${text}: write NAME=PATH, the name of letters, digits, "." and "-"`);
    }
    return { name: match[1], path: resolve(cwd, match[2]) };
  });
  const names = [...folders.map(({ name }) => name), ...PEERS, 'nfs-fuse'];
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`--dir: the name ${twice} is taken`);
  const chosen = list(values.peers);
  const unknown = chosen?.find((name) => !PEERS.some((peer) => peer === name));
  if (unknown !== undefined) throw new UsageError(`--peers ${unknown}: there are ${PEERS.join(', ')}`);
  const partial = values.quick === true || values.rows !== undefined || values.peers !== undefined;
  return {
    folders,
    peers: PEERS.filter((peer) => chosen?.includes(peer) ?? true),
    rows: list(values.rows),
    runs,
    quick: values.quick === true,
    mountOptions: list(values.options) ?? [],
    json: values.json === true,
    out: values.out === undefined ? (partial ? undefined : base) : resolve(cwd, values.out),
    from: values.from === undefined ? undefined : resolve(cwd, values.from),
    profile: values.profile === undefined ? undefined : resolve(cwd, values.profile),
    help: values.help === true,
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        dir: { type: 'string', multiple: true },
        peers: { type: 'string' },
        rows: { type: 'string' },
        runs: { type: 'string' },
        quick: { type: 'boolean' },
        options: { type: 'string', short: 'o' },
        json: { type: 'boolean' },
        out: { type: 'string' },
        from: { type: 'string' },
        profile: { type: 'string' },
        help: { type: 'boolean', short: 'h' },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
