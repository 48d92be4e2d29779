/**
 * A mount of an embedded server that runs in the test itself, so that the test can order faults, restart it, and
 * see its calls. The exported folder is where "another client" works: directly on the disk.
 */
import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { MountStatistics } from '../../lib/mount/serve/running-mount.js';
import type { FileHandle } from '../../lib/programs/nfs3/index.js';
import type { EmbeddedServer, EmbeddedServerOptions } from '../../lib/server/index.js';
import { type Rig, rig } from '../server/support/rig.js';
import type { Agent } from './agent.js';
import { publicFolder } from './folders.js';
import { Mount, type MountSource } from './mount.js';
import { openPlace, type Place } from './places.js';
import { mustRun } from './process.js';
import { untilEnd } from './until-end.js';

/** The output of `nfs-fuse stats --json`. */
export async function statsOf(mount: Pick<Mount, 'place' | 'path'>): Promise<MountStatistics> {
  const { place, path } = mount;
  const argv = place.command([...place.product, 'stats', '--json', path]);
  return JSON.parse(await mustRun(argv, { cwd: '/' })) as MountStatistics;
}

export interface EmbeddedMount {
  readonly server: EmbeddedServer;
  /** The exported folder on the server's disk. */
  readonly folder: string;
  readonly place: Place;
  readonly source: MountSource;
  readonly mount: Mount;
  /** Works in the mount's root. */
  readonly agent: Agent;
  /** The server's handle of a path, "" for the root. */
  handleOf(path: string): Promise<FileHandle>;
  /** `path` on the server's disk. */
  onServer(path: string): string;
  stats(): Promise<MountStatistics>;
}

/** Starts server and mount, as root; all of it ends with the test. */
export async function embeddedMount(
  t: Test,
  options: readonly string[] = [],
  serverOptions: Partial<EmbeddedServerOptions> = {},
): Promise<EmbeddedMount> {
  const scratch = untilEnd(t, publicFolder());
  const folder = join(realpathSync(scratch.path), 'export');
  await mustRun(['mkdir', folder]);
  const made: Rig = await rig(t, serverOptions, folder);
  const place = untilEnd(t, await openPlace('root'));
  const source: MountSource = {
    host: '127.0.0.1',
    exportPath: made.server.exportName,
    mountOptions: [
      `port=${made.server.port}`,
      `mountport=${made.server.port}`,
      `nlmport=${made.server.port}`,
    ],
  };
  const mount = untilEnd(t, await Mount.start({ source, place, options }));
  return {
    server: made.server,
    folder,
    place,
    source,
    mount,
    agent: await mount.agent(),
    handleOf: async (path) => (path === '' ? made.mount() : made.find(path, await made.mount())),
    onServer: (path) => join(folder, path),
    stats: () => statsOf(mount),
  };
}
