/** Faults that the workloads have found, in as few steps as show them. */
import { constants } from 'node:fs';
import t from 'tap';
import { EmbeddedServer } from '../../lib/server/index.js';
import { exportFolder } from '../support/folders.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { untilEnd } from '../support/until-end.js';

t.test(
  'a file with a second name has one link after the other was unlinked while open, and closed',
  async (t) => {
    const exported = untilEnd(t, exportFolder());
    const server = untilEnd(t, await EmbeddedServer.start({ path: exported.path }));
    const place = untilEnd(t, await openPlace('root'));
    const mountOptions = [`port=${server.port}`, `mountport=${server.port}`, `nlmport=${server.port}`];
    const source = { host: '127.0.0.1', exportPath: server.exportName, mountOptions };
    const mount = untilEnd(t, await Mount.start({ source, place }));
    const fs = await mount.agent();
    const fd = await fs.open('first', constants.O_CREAT | constants.O_RDWR);
    await fs.write(fd, 'content');
    await fs.link('first', 'second');
    await fs.unlink('first');
    t.equal((await fs.stat('second')).nlink, 1, 'the silly name does not count');
    server.faults.add({
      procedure: 'REMOVE',
      wait: () => new Promise((resolve) => setTimeout(resolve, 300)),
    });
    await fs.closeFd(fd);
    t.same(
      (await fs.list('.')).map(String),
      ['second'],
      'a file that close(2) removes is gone at the next look',
    );
    t.equal((await fs.stat('second')).nlink, 1);
    t.equal((await fs.readFile('second')).toString(), 'content');
    t.equal((await fs.stat('second')).nlink, 1);
    await fs.unlink('second');
    t.same(await fs.list('.'), []);
  },
);
