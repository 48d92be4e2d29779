/** Sockets at the place of one that is to be made: only what nobody listens on is removed. */
import { existsSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { listenerOn } from '../../lib/mount/reach/socket-place.js';
import { prepareSocket } from '../../lib/volume-parts/stale-socket.js';
import { publicFolder } from '../support/folders.js';
import { mustRun, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';

const LEAVE = 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])';
/** Listens, accepts nobody, and lets as many connect as can. */
const BUSY = `
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(0)
waiting = []
while True:
    one = socket.socket(socket.AF_UNIX)
    one.setblocking(False)
    try:
        one.connect(sys.argv[1])
    except BlockingIOError:
        break
    waiting.append(one)
print('busy', flush=True)
time.sleep(1000)`;

/** Has a socket of another kind, to which nobody can connect. */
const DATAGRAMS = `
import socket, sys, time
other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
other.bind(sys.argv[1])
print('bound', flush=True)
time.sleep(1000)`;

const placeIn = (t: Test): string => join(untilEnd(t, publicFolder()).path, 'socket');

t.test('a socket that a process has left is removed', async (t) => {
  const path = placeIn(t);
  await mustRun(['python3', '-c', LEAVE, path]);
  t.equal(await listenerOn(path), 'nobody');
  await prepareSocket(path, '--socket');
  t.notOk(existsSync(path));
  t.equal(await listenerOn(path), 'nobody');
  await prepareSocket(path, '--socket');
});

t.test('a socket stays while a program listens, also one that accepts nobody at the moment', async (t) => {
  const path = placeIn(t);
  const busy = untilEnd(t, start(['python3', '-c', BUSY, path]));
  await until('it is busy', () => busy.output.includes('busy'));
  await t.rejects(prepareSocket(path, '--socket'), /Another program listens on /);
  t.ok(existsSync(path));
  const other = placeIn(t);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(other, resolve));
  t.teardown(() => server.close());
  await t.rejects(prepareSocket(other, '--socket'), /Another program listens on /);
});

t.test('what may have a listener stays, and what is no socket', async (t) => {
  const path = placeIn(t);
  const datagrams = untilEnd(t, start(['python3', '-c', DATAGRAMS, path]));
  await until('it is there', () => datagrams.output.includes('bound'));
  t.same(await listenerOn(path), { unknown: 'EPROTOTYPE' });
  await t.rejects(prepareSocket(path, '--socket'), {
    message: /It cannot be told whether a program listens on .*\(EPROTOTYPE\)/,
    remedy: /Remove it if none does, or name another socket with --socket/,
  });
  t.ok(existsSync(path));
  const file = placeIn(t);
  writeFileSync(file, '');
  await t.rejects(prepareSocket(file, '--socket'), /is no socket/);
});
