/** A mount through the fault proxy, for workloads: the server's faults and the network's, from one seed. */
import type { Test } from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { type FaultRates, NO_FAULTS, seededPlan } from '../support/fault-plan.js';
import { FaultProxy } from '../support/fault-proxy.js';
import { exportFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';
import { Workload } from './workload.js';

export interface RoughServer {
  readonly port: number;
  readonly mountPort: number;
  readonly exportPath: string;
  /** The exported folder. */
  readonly directory: string;
  /** Crashes and starts the server again, as a machine that loses power and comes back. */
  crash(): Promise<void>;
  close(): Promise<void>;
}

/** The embedded server; a crash loses what was written UNSTABLE and not committed, and all replies it remembers. */
export function roughEmbedded(): Promise<RoughServer> {
  return oddEmbedded(() => {});
}

/** As {@link roughEmbedded}, after `misbehave` has given it its habits. */
export async function oddEmbedded(misbehave: (server: EmbeddedServer) => void): Promise<RoughServer> {
  const exported = exportFolder();
  const server = await EmbeddedServer.start({ path: exported.path, undoUnstable: true });
  misbehave(server);
  return {
    port: server.port,
    mountPort: server.port,
    exportPath: server.exportName,
    directory: exported.path,
    crash: () => server.restart({ loseUncommitted: true }),
    async close() {
      await server.close();
      await exported.remove();
    },
  };
}

/** nfs-ganesha; a crash is SIGKILL. */
export async function roughGanesha(): Promise<RoughServer> {
  const server = await Ganesha.start();
  return {
    port: server.port,
    mountPort: server.mountPort,
    exportPath: server.exportPath,
    directory: server.directory,
    async crash() {
      await server.kill();
      await server.start();
    },
    close: () => server.close(),
  };
}

export interface RoughRun {
  readonly seed: number;
  readonly server: () => Promise<RoughServer>;
  readonly rates: FaultRates;
  readonly workers?: number;
  /** Operations of each worker. */
  readonly operations: number;
  /** The server crashes each time that all workers together have made this many operations; 0: never. */
  readonly crashEvery: number;
  /** Further mount options. */
  readonly options?: readonly string[];
}

/** The options in which the mounts of a suite differ: each seed takes its turn. */
const OPTIONS = [
  [],
  ['nconnect=3'],
  ['wsize=4096', 'rsize=4096'],
  ['noac'],
  ['lookupcache=none'],
  ['sync'],
  ['nocto'],
];

export function mountOptions(seed: number): readonly string[] {
  return OPTIONS[seed % OPTIONS.length] ?? [];
}

/** Short timeouts, since a run is short: a call whose reply is lost is sent again after two seconds. */
const TIMES = ['hard', 'timeo=10', 'retrans=1'];

/** Runs the workload and compares; returns how often the server crashed. Throws Difference. */
export async function runRough(t: Test, run: RoughRun): Promise<number> {
  const { seed, operations, crashEvery } = run;
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await run.server());
  const proxy = untilEnd(t, await FaultProxy.start({ upstream: server.port }));
  // A server whose programs share a port is reached through the proxy for both.
  const mountPort = server.mountPort === server.port ? proxy.port : server.mountPort;
  const source = {
    host: '127.0.0.1',
    exportPath: server.exportPath,
    mountOptions: [`port=${proxy.port}`, `mountport=${mountPort}`, 'nolock'],
  };
  const mount = untilEnd(
    t,
    await Mount.start({ source, place, options: [...TIMES, ...(run.options ?? [])] }),
  );
  let crashes = 0;
  let crashing: Promise<void> | undefined;
  let failure: unknown;
  const workload = new Workload(mount, {
    seed,
    operations,
    ...(run.workers === undefined ? {} : { workers: run.workers }),
    onProgress(done) {
      if (crashEvery === 0 || crashing !== undefined || done < crashEvery * (crashes + 1)) return;
      crashes += 1;
      crashing = server.crash().then(
        () => {
          crashing = undefined;
        },
        (error: unknown) => {
          failure = error;
        },
      );
    },
  });
  proxy.plan = seededPlan(seed, run.rates);
  try {
    await workload.run();
  } catch (error) {
    t.comment(workload.histories);
    t.comment(`the proxy: ${JSON.stringify(proxy.counters)}; ${crashes} crashes`);
    t.comment(`nfs-fuse said:\n${mount.log.slice(-4000)}`);
    throw error;
  } finally {
    proxy.plan = NO_FAULTS;
    await crashing;
  }
  if (failure !== undefined) throw failure;
  const outcome = await mount.unmount();
  t.match(outcome, { status: 0, signal: null }, `seed ${seed}: nfs-fuse lived to the end`);
  workload.compareOnDisk(server.directory);
  return crashes;
}
