/** Records what Linux's own client shows in the combinations of the matrix: see record.mjs, which starts this. */
import { writeFileSync } from 'node:fs';
import { ServeCommand } from '../../support/embedded.js';
import { exportFolder } from '../../support/folders.js';
import { Ganesha } from '../../support/ganesha.js';
import { Guest, NFS_CLIENT, shellLine } from '../../support/guest/guest.js';
import { Knfsd } from '../../support/guest/knfsd.js';
import { GuestNetwork } from '../../support/guest/network.js';
import { openPlace, type Place } from '../../support/places.js';
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
const FOLDERS = { a: '/mnt/a', b: '/mnt/b', look: '/mnt/c' };

interface RunningServer {
  readonly exportPath: string;
  readonly mountOptions: readonly string[];
  /** As a guest of the network calls it. */
  readonly address: string;
  close(): Promise<void>;
}

async function startFor(
  server: RecordedServer,
  network: GuestNetwork,
  host: string,
  place: Place,
): Promise<RunningServer> {
  if (server === 'knfsd') {
    const knfsd = await Knfsd.start({ network });
    const { exportPath, mountOptions } = knfsd;
    return { exportPath, mountOptions, address: knfsd.host, close: () => knfsd.close() };
  }
  const started =
    server === 'ganesha'
      ? await Ganesha.start({ network })
      : await ServeCommand.start(place, ['--host', '0.0.0.0'], network.enter);
  const { exportPath, mountOptions } = started;
  return { exportPath, mountOptions, address: host, close: () => started.close() };
}

/** Two mounts that share nothing, and a third that caches nothing, for the observer. */
function mounting(server: RunningServer, pass: Pass): string {
  const common = ['vers=3', 'tcp', 'nolock', 'nosharecache', ...server.mountOptions];
  const mount = (options: readonly string[], path: string) =>
    shellLine(['mkdir', '-p', path]).concat(
      ' && ',
      shellLine([
        'mount',
        '-t',
        'nfs',
        '-o',
        [...common, ...options].join(','),
        `${server.address}:${server.exportPath}`,
        path,
      ]),
    );
  const clients = [FOLDERS.a, FOLDERS.b].map((path) => mount(PASS_OPTIONS[pass], path));
  return [...clients, mount(['noac', 'lookupcache=none'], FOLDERS.look)].join(' && ');
}

async function runOnce(guest: Guest, server: RunningServer, pass: Pass): Promise<Outcomes> {
  await guest.mustRun(mounting(server, pass));
  const output = await guest.mustRun(shellLine(commandLine(pass, ALL, FOLDERS)), TIMEOUT_MS);
  await guest.mustRun(`umount ${Object.values(FOLDERS).join(' ')}`);
  return parse(output);
}

async function record(name: RecordedServer, truth: Outcomes): Promise<void> {
  const network = await GuestNetwork.make();
  const place = await openPlace('root');
  try {
    const cable = await network.cable();
    const server = await startFor(name, network, cable.host, place);
    try {
      const guest = await Guest.boot({ network, cable, modules: NFS_CLIENT.modules, memory: '1G' });
      try {
        const known = readRecord(name);
        const earlier = known?.hash === programHash() && known.every === ALL ? known : undefined;
        const passOf = async (pass: Pass) => {
          const run = await runOnce(guest, server, pass);
          const late = lateIn(truth, run, earlier?.passes[pass].late ?? new Set());
          console.log(`${name}, ${pass}: ${truth.size} combinations, late: ${late.size}`);
          return { count: truth.size, late };
        };
        const passes = { 'at-once': await passOf('at-once'), later: await passOf('later') };
        const runs = (earlier?.runs ?? 0) + 1;
        const comments = [
          `In which combinations of the consistency matrix the NFS client of Linux ${guest.version} shows something`,
          `else than a local directory; from ${TITLES[name]}.`,
          'Recorded by: node test/consistency/matrix/record.mjs',
        ];
        const text = writeRecord({ hash: programHash(), every: ALL, runs, passes }, comments);
        writeFileSync(recordFile(name), text);
      } finally {
        await guest.halt();
      }
    } finally {
      await server.close();
    }
  } finally {
    await network.close();
    await place.close();
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
