/** The places that tests mount in do not disturb each other. */
import t from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { exportFolder } from '../support/folders.js';
import { Mount, mountsOf } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';

t.test('a user namespace keeps no mount of another test alive', { timeout: 120_000 }, async (t) => {
  const exported = untilEnd(t, exportFolder());
  const server = untilEnd(t, await EmbeddedServer.start({ path: exported.path }));
  const root = untilEnd(t, await openPlace('root'));
  const mountOptions = [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`];
  const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
  const mount = untilEnd(t, await Mount.start({ source, place: root }));
  // The server answers nothing for now: nothing may wait for it.
  await server.pause();
  const userns = untilEnd(t, await openPlace('userns'));
  const copies = mountsOf(userns.namespacePid).filter(({ path }) => path === mount.path);
  t.same(copies, []);
  await server.resume();
  t.match(await mount.unmount(), { status: 0 });
});
