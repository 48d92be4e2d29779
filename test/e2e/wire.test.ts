/** A session that uses every procedure of NFSv3, and those of MOUNT that a mount needs, judged by tshark. */
import { constants } from 'node:fs';
import t from 'tap';
import { NULL } from '../../lib/programs/nfs3/index.js';
import { AUTH_NONE, RpcClient } from '../../lib/rpc/index.js';
import { Capture } from '../support/capture.js';
import { Mount } from '../support/mount.js';
import { openPlace } from '../support/places.js';
import { mustRun } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { startServer } from '../support/variants.js';

const NFS = [
  'NULL GETATTR SETATTR LOOKUP ACCESS READLINK READ WRITE CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR RENAME LINK',
  'READDIR READDIRPLUS FSSTAT FSINFO PATHCONF COMMIT',
]
  .join(' ')
  .split(' ');

for (const kind of ['ganesha', 'embedded'] as const) {
  t.test(kind, { timeout: 120_000 }, async (t) => {
    const place = untilEnd(t, await openPlace('root'));
    const server = untilEnd(t, await startServer(kind, place));
    const ports = server.mountOptions.flatMap((option) => option.match(/port=(\d+)/)?.[1] ?? []).map(Number);
    const capture = untilEnd(t, await Capture.start([...new Set(ports)]));

    for (const options of [[], ['nordirplus'], ['rsize=8192', 'wsize=8192']]) {
      const mount = untilEnd(t, await Mount.start({ source: server, place, options }));
      const fs = await mount.agent();
      await fs.mkdir('folder');
      await fs.writeFile('folder/file', Buffer.alloc(100_001, 7));
      await fs.closeFd(
        await fs.open('folder/exclusive', constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY),
      );
      await fs.mkfifo('folder/fifo');
      await fs.mknod('folder/device', constants.S_IFCHR | 0o600, 0x0103);
      await fs.symlink('file', 'folder/link');
      await fs.link('folder/file', 'folder/hard');
      await fs.rename('folder/hard', 'folder/renamed');
      await fs.chmod('folder/file', 0o600);
      await fs.chown('folder/file', 1000, 1000);
      await fs.utimens('folder/file', 1n, 2n);
      await fs.utimens('folder/renamed', 'now', 'now');
      await fs.truncate('folder/file', 70_001);
      t.equal((await fs.readFile('folder/file')).length, 70_001);
      t.equal((await fs.readlink('folder/link')).toString(), 'file');
      await fs.access('folder/file', 7);
      await fs.statvfs('.');
      await fs.makeFiles('folder', 'entry', 0, 300);
      t.equal((await fs.list('folder')).length, 306);
      await mount.mustRun(['ls', '-lR']);
      await mount.mustRun(['getconf', 'NAME_MAX', '.']);
      await mount.mustRun(['rm', '-r', 'folder']);
      t.match(await mount.unmount(), { status: 0 });
    }
    const client = await RpcClient.connect({ host: server.host, port: ports[0] ?? 0 });
    await client.call(NULL, undefined, { credential: AUTH_NONE });
    client.close();
    const exports = [...place.product, 'exports', '-o', server.mountOptions.join(','), server.host];
    t.match(await mustRun(exports), server.exportPath);

    const trace = await capture.finish();
    t.same(trace.complaints, [], 'the dissector has nothing to complain of');
    const called = trace.called('nfs');
    t.same(
      NFS.filter((_, procedure) => !called.has(procedure)),
      [],
      'every procedure of NFSv3 was called',
    );
    const mountCalls = trace.called('mount');
    for (const [name, procedure] of Object.entries({ MNT: 1, UMNT: 3, EXPORT: 5 })) {
      t.ok(mountCalls.has(procedure), `MOUNT ${name} was called`);
    }
    const calls = trace.messages.filter(({ kind }) => kind === 'call').length;
    t.equal(trace.messages.length - calls, calls, `${calls} calls, and as many replies`);
  });
}
