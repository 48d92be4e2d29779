/** Records what Linux's own client shows in the combinations of the matrix: see record.mjs, which starts this. */
import { writeFileSync } from 'node:fs';
import { ServeCommand } from '../../support/embedded.js';
import { exportFolder } from '../../support/folders.js';
import { Ganesha } from '../../support/ganesha.js';
import { Guest, NFS_CLIENT, shellLine } from '../../support/guest/guest.js';
import { Knfsd } from '../../support/guest/knfsd.js';
import { GuestNetwork } from '../../support/guest/network.js';
import { openPlace } from '../../support/places.js';
import { lateIn, type RecordedServer, readRecord, recordFile, writeRecord } from './linux-record.js';
import {
  commandLine,
  type Outcomes,
  PASS_OPTIONS,
  type Pass,
  parse,
  programHash,
  runProgram,
} from './program.js';
import { ALL } from './suite.js';

const SERVERS: readonly RecordedServer[] = ['ganesha', 'embedded', 'knfsd'];
const TITLES: Readonly<Record<RecordedServer, string>> = {
  ganesha: 'nfs-ganesha',
  embedded: 'nfs-fuse serve',
  knfsd: 'knfsd',
};
const TIMEOUT_MS = 60 * 60_000;
const CLIENTS = { a: '/mnt/a', b: '/mnt/b' };
const OBSERVER = '/mnt/c';

/** A server, and the guest that is its client. */
interface Pair {
  readonly guest: Guest;
  /** As the guest names it in its mounts. */
  readonly source: string;
  readonly mountOptions: readonly string[];
  /** The export on the server's disk, where the guest can see it. */
  readonly directory?: string;
  close(): Promise<void>;
}

/** Linux's own server has its client beside it: that halves what the guests have to do, and spares an observer's mount. */
async function withKnfsd(): Promise<Pair> {
  const knfsd = await Knfsd.start({ modules: NFS_CLIENT.modules });
  const { guest, exportPath, mountOptions } = knfsd;
  const source = `localhost:${exportPath}`;
  return { guest, source, mountOptions, directory: exportPath, close: () => knfsd.close() };
}

async function withServerHere(server: 'ganesha' | 'embedded'): Promise<Pair> {
  const network = await GuestNetwork.make();
  const place = await openPlace('root');
  const closers: (() => Promise<unknown>)[] = [() => place.close(), () => network.close()];
  const close = async () => {
    for (const one of closers) await one();
  };
  try {
    const cable = await network.cable();
    const started =
      server === 'ganesha'
        ? await Ganesha.start({ network })
        : await ServeCommand.start(place, ['--host', '0.0.0.0'], network.enter);
    closers.unshift(() => started.close());
    const guest = await Guest.boot({ network, cable, modules: NFS_CLIENT.modules, memory: '1G' });
    closers.unshift(() => guest.halt());
    const { exportPath, mountOptions } = started;
    return { guest, source: `${cable.host}:${exportPath}`, mountOptions, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Two mounts that share nothing; beside them an observer's, which caches nothing, where the export itself is not seen. */
async function runOnce(pair: Pair, pass: Pass): Promise<Outcomes> {
  const { guest, source, mountOptions, directory } = pair;
  const mounts = Object.values(CLIENTS).map((path) => ({ path, options: PASS_OPTIONS[pass] }));
  if (directory === undefined) mounts.push({ path: OBSERVER, options: ['noac', 'lookupcache=none'] });
  for (const { path, options } of mounts) {
    const all = ['vers=3', 'tcp', 'nolock', 'nosharecache', ...mountOptions, ...options].join(',');
    await guest.mustRun(`mkdir -p ${path} && ${shellLine(['mount', '-t', 'nfs', '-o', all, source, path])}`);
  }
  const folders = { ...CLIENTS, look: directory ?? OBSERVER };
  const output = await guest.mustRun(shellLine(commandLine(pass, ALL, folders)), TIMEOUT_MS);
  await guest.mustRun(`umount ${mounts.map(({ path }) => path).join(' ')}`);
  return parse(output);
}

/**
 * Linux's own server answers for a removed file, and for the removed directory that it was in, until the next tick of its
 * clock. So it is chance whether a client that holds one of them is answered at once. A refusal of Linux's client later counts
 * as a refusal at once, too.
 */
function withForgotten(
  truth: Outcomes,
  atOnce: ReadonlySet<string>,
  later: ReadonlySet<string>,
): ReadonlySet<string> {
  return new Set([...truth.keys()].filter((name) => atOnce.has(name) || later.has(name)));
}

/** Runs both passes on a server, and adds to its record. */
async function record(name: RecordedServer, truth: Outcomes): Promise<void> {
  const known = readRecord(name);
  const earlier = known?.hash === programHash() && known.every === ALL ? known : undefined;
  const pair = name === 'knfsd' ? await withKnfsd() : await withServerHere(name);
  try {
    const passOf = async (pass: Pass) => {
      const began = Date.now();
      const run = await runOnce(pair, pass);
      const late = lateIn(truth, run, earlier?.passes[pass].late ?? new Set());
      const seconds = Math.round((Date.now() - began) / 1000);
      console.log(`${name}, ${pass}: ${truth.size} combinations in ${seconds} s, late: ${late.size}`);
      return { count: truth.size, late };
    };
    const atOnce = await passOf('at-once');
    const later = await passOf('later');
    const late = name === 'knfsd' ? withForgotten(truth, atOnce.late, later.late) : atOnce.late;
    const passes = { 'at-once': { ...atOnce, late }, later };
    const runs = (earlier?.runs ?? 0) + 1;
    const comments = [
      `In which combinations of the consistency matrix the NFS client of Linux ${pair.guest.version} shows something`,
      `else than a local directory; from ${TITLES[name]}.`,
      'Recorded by: node test/consistency/matrix/record.mjs',
      ...(name === 'knfsd'
        ? ['Combinations that differ later count for at once, too: see record-main.ts.']
        : []),
    ];
    const text = writeRecord({ hash: programHash(), every: ALL, runs, passes }, comments);
    writeFileSync(recordFile(name), text);
  } finally {
    await pair.close();
  }
}

const asked = process.argv.slice(2);
const servers = SERVERS.filter((name) => asked.length === 0 || asked.includes(name));
const unknown = asked.filter((name) => !SERVERS.some((server) => server === name));
if (unknown.length > 0) throw new Error(`no such server: ${unknown.join(', ')}`);
const local = exportFolder();
const here = { a: local.path, b: local.path, look: local.path };
const truth = await runProgram('at-once', ALL, here);
await local.remove();
for (const name of servers) await record(name, truth);
