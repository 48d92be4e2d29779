/** The signs that a server has restarted. */
import t from 'tap';
import { ServerRestarts } from '../../../lib/vfs/remote/server-restarts.js';
import { settled } from '../support/rig.js';
import { KIB, opened, pattern } from '../support/written-file.js';

t.test('connections are a sign only beyond the first of each', async (t) => {
  const restarts = new ServerRestarts();
  let signs = 0;
  restarts.onSeen(() => signs++);
  const connected = restarts.watching(2);
  for (const expected of [0, 0, 1, 2]) {
    connected();
    t.equal(signs, expected);
  }
});

t.test('another write verifier is a sign: of a COMMIT, and of a second WRITE', async (t) => {
  for (const second of [false, true]) {
    const { rig, server, fh } = await opened();
    let signs = 0;
    rig.vfs.restarts.onSeen(() => signs++);
    await rig.write(fh, 0, pattern(KIB));
    await settled();
    t.equal(signs, 0);
    server.restart();
    if (second) await rig.write(fh, KIB, pattern(KIB));
    else await rig.files.flush(fh);
    await settled();
    t.ok(signs > 0);
  }
});
