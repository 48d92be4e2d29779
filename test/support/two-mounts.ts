/** Two mounts of one export: they stand for two clients on two machines. */
import { closeSync, futimesSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { EmbeddedServer, type EmbeddedServerOptions } from '../../lib/server/index.js';
import type { Agent } from './agent.js';
import { exportFolder } from './folders.js';
import { Mount } from './mount.js';
import { openPlace, type Place } from './places.js';
import { until } from './process.js';
import { untilEnd } from './until-end.js';
import { type ServerName, startServer, type TestServer } from './variants.js';

export interface Client {
  readonly mount: Mount;
  /** An agent in the mounted folder. */
  readonly fs: Agent;
}

export interface Clients {
  readonly place: Place;
  readonly server: TestServer;
  readonly a: Client;
  readonly b: Client;
}

/** Mounts a new export of a server of this kind twice, both with `options`; all is taken away with the test. */
export async function twoMounts(
  t: Test,
  kind: ServerName,
  options: readonly string[] = [],
): Promise<Clients> {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await startServer(kind, place));
  const client = async (): Promise<Client> => {
    const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
    return { mount, fs: await mount.agent() };
  };
  return { place, server, a: await client(), b: await client() };
}

export interface Watched {
  /** The server, in this process: its counters and faults. */
  readonly server: EmbeddedServer;
  /** The exported folder. */
  readonly directory: string;
  readonly place: Place;
  /** Mounts it (again), with options. */
  mount(options?: readonly string[], args?: readonly string[]): Promise<Client>;
  /** How many calls of each procedure `work` costs; procedures that are not called are left out. */
  calls(work: () => Promise<unknown>): Promise<Record<string, number>>;
}

/** An embedded server in this process, whose calls are counted. */
export async function watchedServer(t: Test, options: Partial<EmbeddedServerOptions> = {}): Promise<Watched> {
  const place = untilEnd(t, await openPlace('root'));
  const folder = untilEnd(t, exportFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ ...options, path: folder.path }));
  const mountOptions = [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`];
  const source = { host: options.host ?? '127.0.0.1', exportPath: server.exportName, mountOptions };
  return {
    server,
    directory: folder.path,
    place,
    async mount(options = [], args = []) {
      const mount = untilEnd(t, await Mount.start({ source, place, options, args }));
      return { mount, fs: await mount.agent() };
    },
    async calls(work) {
      server.resetCounters();
      await work();
      return Object.fromEntries(Object.entries(server.counters).filter(([, count]) => count > 0));
    },
  };
}

/**
 * Waits until the clock that the server's disk takes times from has gone on since `path` was changed last: a second
 * change within one tick leaves the same ctime, and no NFSv3 client can see it.
 */
export async function tickAfter(server: TestServer, path: string): Promise<void> {
  const clock = `${server.directory}.clock`;
  const changed = statSync(join(server.directory, path), { bigint: true }).ctimeNs;
  const fd = openSync(clock, 'w');
  try {
    await until('the clock of the disk goes on', () => {
      futimesSync(fd, 0, 0);
      return statSync(clock, { bigint: true }).ctimeNs > changed;
    });
  } finally {
    closeSync(fd);
  }
}
