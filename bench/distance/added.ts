/** Measures what a way adds to a round trip: a relay delays by more than it was told to, since it has to be woken up, too. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { median } from '../measure.js';
import type { Way } from './way.js';

const WARM_UP = 50;
const ROUNDS = 300;
/** As long as a usual call. */
const MESSAGE = Buffer.alloc(128);

/** The median round trip over each of `ways` to an echo on loopback, in milliseconds. */
export async function roundTripsOver(ways: readonly Way[]): Promise<readonly number[]> {
  const server = createServer({ noDelay: true }, (socket) => socket.pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const trips: number[] = [];
    for (const way of ways) trips.push(await roundTrip(await way.to(port)));
    return trips;
  } finally {
    server.close();
  }
}

async function roundTrip(port: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  try {
    await once(socket, 'connect');
    const times: number[] = [];
    for (let round = 0; round < WARM_UP + ROUNDS; round++) {
      const began = performance.now();
      socket.write(MESSAGE);
      for (let got = 0; got < MESSAGE.length; ) {
        const [data] = (await once(socket, 'data')) as [Buffer];
        got += data.length;
      }
      if (round >= WARM_UP) times.push(performance.now() - began);
    }
    return median(times);
  } finally {
    socket.destroy();
  }
}
