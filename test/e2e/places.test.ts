/** The places that tests mount in do not disturb each other. */
import t from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { exportFolder } from '../support/folders.js';
import { Mount, mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';

t.test('a user namespace keeps no mount of another test alive', { timeout: 120_000 }, async (t) => {
  const exported = exportFolder();
  t.teardown(() => exported.remove());
  const server = await EmbeddedServer.start({ path: exported.path });
  t.teardown(() => server.close());
  const root = await openPlace('root');
  t.teardown(() => root.close());
  const mountOptions = [`port=${server.port}`, `mountport=${server.port}`];
  const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
  const mount = await Mount.start({ source, place: root });
  t.teardown(() => mount.close());
  // The server answers nothing for now: nothing may wait for it.
  await server.pause();
  const userns = await openPlace('userns');
  t.teardown(() => userns.close());
  const copies = mountsOf(userns.namespacePid).filter(({ path }) => path === mount.path);
  t.same(copies, []);
  await server.resume();
  t.match(await mount.unmount(), { status: 0 });
});
