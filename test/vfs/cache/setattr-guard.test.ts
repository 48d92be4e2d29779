/** The guard of SETATTR (RFC 1813 3.3.2): a truncation that comes late must not cut off what was written after it. */

import t from 'tap';
import { type SetattrArguments, Status } from '../../../lib/programs/nfs3/index.js';
import { NO_CHANGES } from '../support/no-changes.js';
import { O_RDWR, Rig } from '../support/rig.js';

async function opened() {
  const rig = new Rig();
  const { server } = rig;
  server.tree.file('f', 'content');
  const { inode, fh } = await rig.open('f', O_RDWR);
  server.forgetCalls();
  const truncate = (size: bigint) =>
    rig.files.setAttributes(inode, { ...NO_CHANGES, size, fh }, rig.caller());
  const guards = () => server.named('SETATTR').map(({ args }) => (args as SetattrArguments).guard);
  return { rig, server, file: server.tree.at('f'), inode, fh, truncate, guards };
}

t.test('a change of the size is guarded by the ctime that is known, after writes too', async (t) => {
  const { rig, server, file, fh, truncate, guards } = await opened();
  const { ctime } = file;
  await truncate(3n);
  t.same(guards(), [ctime]);
  await rig.write(fh, 3, Buffer.from('more'));
  await truncate(5n);
  t.equal(file.data.toString(), 'conmo');
  t.equal(server.count('SETATTR'), 2, 'NO_CHANGES was refused');
});

t.test('other attributes are not: what another client has done meanwhile is no matter', async (t) => {
  const { rig, server, inode, guards } = await opened();
  server.tree.modified(server.tree.at('f'));
  await rig.files.setAttributes(inode, { ...NO_CHANGES, mode: 0o600 }, rig.caller());
  t.same(guards(), [undefined]);
});

t.test('a copy of the call that comes late changes nothing', async (t) => {
  const { rig, server, file, fh, truncate } = await opened();
  let late = (): unknown => undefined;
  server.once('SETATTR', (_args, execute) => {
    late = execute;
    return execute();
  });
  await truncate(0n);
  await rig.write(fh, 0, Buffer.from('written after'));
  await rig.files.flush(fh);
  t.match(late(), { status: Status.NOT_SYNC });
  t.equal(file.data.toString(), 'written after');
});

t.test('the echo of our own repeated call is no failure', async (t) => {
  const { server, file, truncate, guards } = await opened();
  const ctimes = [file.ctime];
  server.once('SETATTR', (_args, execute) => {
    execute();
    ctimes.push(file.ctime);
    return execute();
  });
  t.equal((await truncate(2n)).size, 2n);
  t.same(guards(), ctimes);
  t.equal(file.data.toString(), 'co');
});

t.test('a file that another client has changed is cut all the same', async (t) => {
  const { server, file, truncate } = await opened();
  server.tree.modified(file);
  t.equal((await truncate(4n)).size, 4n);
  t.equal(server.names(), 'SETATTR SETATTR');
  t.equal(file.data.toString(), 'cont');
});

t.test('and if the server says nothing of it, it is asked', async (t) => {
  const { server, file, truncate } = await opened();
  server.wcc = 'none';
  server.tree.modified(file);
  t.equal((await truncate(4n)).size, 4n);
  t.equal(server.names(), 'SETATTR GETATTR SETATTR GETATTR');
});

t.test('a server that finds no guard right gets a call without one', async (t) => {
  const { server, file, truncate, guards } = await opened();
  server.on('SETATTR', (args: SetattrArguments, execute) =>
    args.guard === undefined ? execute() : server.failure('SETATTR', Status.NOT_SYNC),
  );
  t.equal((await truncate(1n)).size, 1n);
  t.equal(guards().at(-1), undefined);
  t.equal(file.data.toString(), 'c');
});
