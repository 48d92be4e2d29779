/** An embedded server in this process for a crowd. */
import type { Test } from 'tap';
import { EmbeddedServer, type EmbeddedServerOptions } from '../../../lib/server/index.js';
import { exportFolder } from '../../support/folders.js';
import { Mount } from '../../support/mount.js';
import { openPlace } from '../../support/places.js';
import { untilEnd } from '../../support/until-end.js';

/** Starts it, and tells how to mount it without its lock manager's port. Both end with the test. */
export async function served(t: Test, options: Partial<EmbeddedServerOptions> = {}) {
  const place = untilEnd(t, await openPlace('root'));
  const { path: directory } = untilEnd(t, exportFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: directory, ...options }));
  const mountOptions = [`port=${server.port}`, `mountport=${server.port}`];
  const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
  return {
    server,
    directory,
    mount: async (options: readonly string[]) => untilEnd(t, await Mount.start({ source, place, options })),
    isEmpty: () => server.locks.held === 0 && server.locks.waiting === 0,
  };
}
