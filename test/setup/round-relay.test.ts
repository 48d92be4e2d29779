/** The relay that counts rounds: what goes out together is one round, what waits for an answer is another. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import t, { type Test } from 'tap';
import { mustRun } from '../support/process.js';
import { RoundRelay } from '../support/round-relay.js';
import { untilEnd } from '../support/until-end.js';

/** Sends as many records at a time as each argument says, in small pieces, and waits for their answers. */
const CLIENT = `
import socket, sys, time
link = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
record = bytes([0, 0, 0, 3]) + b'abc' + bytes([128, 0, 0, 5]) + b'defgh'
for count in map(int, sys.argv[2:]):
    sum(range(200000))
    for i in range(count):
        link.sendall(record[:2])
        link.sendall(record[2:])
    left = count * len(record)
    while left > 0:
        left -= len(link.recv(left))
`;

async function roundsOf(t: Test, ...counts: number[]): Promise<number> {
  const echo = createServer((socket) => socket.pipe(socket));
  echo.listen(0, '127.0.0.1');
  await once(echo, 'listening');
  t.teardown(() => echo.close());
  const relay = untilEnd(t, await RoundRelay.start((echo.address() as AddressInfo).port));
  const argv = ['python3', '-c', CLIENT, String(relay.port), ...counts.map(String)];
  const rounds = await relay.rounds(() => mustRun(argv));
  await mustRun(argv);
  return rounds;
}

t.test('calls that wait for each other’s answers are a round each', async (t) => {
  t.equal(await roundsOf(t, 1, 1, 1), 3);
});

t.test('calls that go out together are one round', async (t) => {
  t.equal(await roundsOf(t, 5), 1);
  t.equal(await roundsOf(t, 3, 1, 2), 3);
});

t.test('work that sends nothing takes no round, and a failure of the work is told', async (t) => {
  t.equal(await roundsOf(t), 0);
  const relay = untilEnd(t, await RoundRelay.start(1));
  await t.rejects(
    relay.rounds(() => Promise.reject(new Error('no'))),
    { message: 'no' },
  );
});
