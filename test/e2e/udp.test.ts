/** A mount over UDP: files come and go whole, and no call is repeated because our own socket has dropped the reply. */
import t from 'tap';
import { statsOf } from '../support/embedded-mount.js';
import { Ganesha } from '../support/ganesha.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { SeededRandom } from '../support/seeded-random.js';
import { untilEnd } from '../support/until-end.js';

const LENGTH = 12 * 1024 * 1024 + 4321;

t.test('a file is written and read from start to end over UDP', { timeout: 120_000 }, async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const server = untilEnd(t, await Ganesha.start({ udp: true }));
  const options = ['proto=udp'];
  const data = Buffer.from(new SeededRandom(1, 2).bytes(LENGTH));

  const writer = untilEnd(t, await Mount.start({ source: server, place, options }));
  await (await writer.agent()).writeFile('file', data);
  t.match(await writer.unmount(), { status: 0 });

  // Neither this client nor the kernel knows anything of the file.
  const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
  const fs = await mount.agent();
  t.ok((await fs.readFile('file')).equals(data), 'the same bytes');
  const { procedures, limits } = await statsOf(mount);
  const read = procedures.find(({ procedure }) => procedure === 'READ');
  t.ok((read?.calls ?? 0) >= LENGTH / limits.rsize, `${read?.calls} READs of ${limits.rsize}`);
  t.ok(
    (read?.retransmits ?? 0) < (read?.calls ?? 0) / 10,
    `${read?.retransmits} of ${read?.calls} READs were sent again`,
  );
  t.notMatch(mount.log, /not responding/);
});
