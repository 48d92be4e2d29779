/**
 * A server behind a proxy that can hold everything back, so that the server looks dead; mounts of it; and data that was
 * written and is not on the server yet.
 */
import { constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { MountStats } from '../../lib/mount/serve/mount-stats.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { Agent } from './agent.js';
import { statsOf } from './embedded-mount.js';
import { FaultProxy } from './fault-proxy.js';
import { publicFolder } from './folders.js';
import { Mount, type MountSource, mountsOf, newMountPoint } from './mount.js';
import { openPlace, type Place, type PlaceName } from './places.js';
import { mustRun, type Outcome, run, until } from './process.js';
import { registerProcess } from './registry.js';
import { untilEnd } from './until-end.js';
import { killForGood } from './watchers.js';

const { O_CREAT, O_RDWR } = constants;
export const BYTES = 40_000;
export const DATA = Buffer.alloc(BYTES, 'unwritten ');

export interface HeldServer {
  readonly server: EmbeddedServer;
  readonly proxy: FaultProxy;
  readonly place: Place;
  readonly source: MountSource;
  /** `path` on the server's disk. */
  served(path: string): Buffer;
}

/** All of it ends with the test. */
export async function heldServer(t: Test, name: PlaceName = 'root'): Promise<HeldServer> {
  const scratch = untilEnd(t, publicFolder());
  const folder = join(scratch.path, 'served');
  await mustRun(['mkdir', '-m', '777', folder]);
  const server = untilEnd(t, await EmbeddedServer.start({ path: folder }));
  const { port } = server;
  if (port === undefined) throw new Error('the server does not listen');
  const proxy = untilEnd(t, await FaultProxy.start({ upstream: port }));
  const place = untilEnd(t, await openPlace(name));
  const mountOptions = [`port=${proxy.port}`, `mountport=${proxy.port}`, `nlmport=${proxy.port}`];
  const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
  return { server, proxy, place, source, served: (path) => readFileSync(join(folder, path)) };
}

/** Mounts in the foreground; ends with the test. */
export async function heldMount(t: Test, where: HeldServer): Promise<Mount> {
  const { source, place, proxy } = where;
  const mount = await Mount.start({ source, place, options: ['timeo=3', 'retrans=1'] });
  t.teardown(async () => {
    proxy.release();
    await mount.close();
  });
  await mount.served();
  return mount;
}

/** A mount whose command has returned. */
export interface BackgroundMount {
  readonly place: Place;
  readonly path: string;
  /** The process that serves it. */
  readonly pid: number;
  readonly isMounted: boolean;
  readonly isRunning: boolean;
  /** Runs `nfs-fuse` in the mount's place. */
  nfsFuse(...args: readonly string[]): Promise<Outcome>;
  stats(): Promise<MountStats>;
}

/** Mounts in the background; ends with the test. `variables`: of the environment of `nfs-fuse`, in the words of env(1). */
export async function backgroundMount(
  t: Test,
  where: HeldServer,
  args: readonly string[] = [],
  variables: readonly string[] = [],
): Promise<BackgroundMount> {
  const { source, place, proxy } = where;
  const path = await newMountPoint(place);
  const nfsFuse = (...more: readonly string[]) =>
    run(place.command(['env', ...variables, ...place.product, ...more]), { cwd: '/' });
  const options = ['timeo=3', 'retrans=1', ...source.mountOptions].join(',');
  const mounted = await nfsFuse('mount', ...args, '-o', options, `${source.host}:${source.exportPath}`, path);
  if (mounted.status !== 0) throw new Error(mounted.stderr.toString());
  const asked = await nfsFuse('stats', '--json', path);
  const { pid } = JSON.parse(asked.stdout.toString()) as MountStats;
  registerProcess(pid, 'nfs-fuse in the background');
  const isMounted = () => mountsOf(place.namespacePid).some((entry) => entry.path === path);
  t.teardown(async () => {
    proxy.release();
    if (isRunning(pid)) killForGood(pid, path);
    await until('the process has ended', () => !isRunning(pid));
    while (isMounted()) await run(place.command(['umount', '-l', path]), { cwd: '/' });
  });
  return {
    place,
    path,
    pid,
    nfsFuse,
    get isMounted() {
      return isMounted();
    },
    get isRunning() {
      return isRunning(pid);
    },
    stats: () => statsOf({ place, path }),
  };
}

function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return false;
  }
}

/**
 * Writes {@link DATA} to a file. The server gets none of it before the proxy is released. The writer is gone
 * afterwards: nothing keeps the mount in use.
 */
export async function leaveUnwritten(
  t: Test,
  { proxy, place }: HeldServer,
  mount: Pick<Mount, 'place' | 'path'>,
  path: string,
): Promise<void> {
  const agent = await Agent.start({ command: place.command, folder: place.folder, cwd: mount.path });
  const fd = await agent.open(path, O_CREAT | O_RDWR);
  proxy.hold();
  await agent.pwrite(fd, DATA, 0);
  agent.process.signal('SIGKILL');
  await agent.process.ended;
  const { unwritten } = await statsOf(mount);
  t.same({ bytes: unwritten.bytes, files: unwritten.files }, { bytes: BYTES, files: 1 }, 'data is unwritten');
}
