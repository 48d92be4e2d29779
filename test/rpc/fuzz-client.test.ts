/**
 * A client whose server sends mutated replies, mutated record marks and garbage: every call is settled, the client
 * goes on working, memory stays bounded, and clients of other servers notice nothing.
 */
import net from 'node:net';
import t, { type Test } from 'tap';
import type { Clock } from '../../lib/base/clock.js';
import { RpcClient } from '../../lib/rpc/client/client.js';
import { RpcError } from '../../lib/rpc/rpc-errors.js';
import { Generator } from '../nfs3/support/generator.js';
import { SeededRandom } from '../support/seeded-random.js';
import { mutated } from './support/fields.js';
import { FUZZ_SEED, fuzzCases, peakMemory } from './support/fuzz-size.js';
import { ANONYMOUS, ECHO } from './support/procedures.js';
import { everyCase, replyFields } from './support/results.js';
import { echo, lastWord, serverAndClient, success, type WireCall, words } from './support/wire-server.js';

const MiB = 1024 * 1024;
/** XID, type, accepted, verifier (2), accept_stat. */
const HEADER_FIELDS = 6;

/** Time a thousand times as fast: back-offs and timeouts are as they are, and nobody waits for them. */
const FAST: Clock = {
  now: () => performance.now() * 1000,
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds / 1000);
    return { cancel: () => clearTimeout(timer) };
  },
};

const hurried = (t: Test) =>
  serverAndClient(
    t,
    (port) => new RpcClient({ host: '127.0.0.1', port, clock: FAST, timeo: 300, retrans: 1 }),
  );

/** A record mark as it should be, or about so. */
function marked(message: Buffer, random: SeededRandom): Buffer {
  const right = 0x8000_0000 + message.length;
  if (!random.oneIn(100)) return Buffer.concat([words(right), message]);
  const wrong = [
    0,
    0x8000_0000,
    message.length,
    right - 4,
    right + 4,
    right + 1,
    0xffff_ffff,
    random.uint32(),
  ];
  return Buffer.concat([words(random.pick(wrong)), message]);
}

t.test(
  '100 000 mutated replies settle every call, and the client goes on',
  { timeout: 100_000 },
  async (t) => {
    const { server, client } = await hurried(t);
    const healthy = await hurried(t);
    healthy.server.onCall = echo;
    const random = new SeededRandom(FUZZ_SEED, 11);
    const g = new Generator(`client ${FUZZ_SEED}`);
    const tries = new Map<number, number>();
    const total = fuzzCases(100_000);
    let sent = 0;
    server.onCall = (call: WireCall) => {
      // The server's own list of what it has seen is not what is measured here.
      server.calls.length = call.connection.calls.length = 0;
      const procedure = call.bytes.readUInt32BE(20);
      const program = call.bytes.readUInt32BE(12);
      const one = everyCase.find(
        (other) => other.procedure.number === procedure && other.procedure.program.number === program,
      );
      if (one === undefined) throw new Error(`a call of ${program} ${procedure}`);
      const { fields } = replyFields(one, call.xid, g, random);
      const count = (tries.get(call.xid) ?? 0) + 1;
      tries.set(call.xid, count);
      // At last the server comes to its senses: a call that was sent again and again is answered.
      if (count > 4) {
        const message = Buffer.concat([success(call.xid), encodedResult(one, g)]);
        call.connection.record(message);
        return;
      }
      sent += 1;
      // A broken header costs the connection, and with it the replies behind: most keep theirs.
      const whole = random.oneIn(20) ? 0 : HEADER_FIELDS;
      const header = fields.slice(0, whole).map(({ bytes }) => bytes);
      const message = Buffer.concat([...header, mutated(fields.slice(whole), random)]);
      const reply = marked(message, random);
      call.connection.socket.write(reply);
      // A stream that has lost its marks, or an XID that is not the call's, would hold the call up until its timeout.
      if (random.oneIn(100)) call.connection.socket.end();
    };
    const before = peakMemory();
    const outcomes = { results: 0, errors: 0 };
    let started = 0;
    const unexpected: unknown[] = [];
    const echoes: boolean[] = [];
    const worker = async (): Promise<void> => {
      while (sent < total) {
        const one = everyCase[started++ % everyCase.length];
        if (one === undefined) continue;
        try {
          await client.call(one.procedure, one.args(g), ANONYMOUS);
          outcomes.results += 1;
        } catch (error) {
          outcomes.errors += 1;
          if (!(error instanceof RpcError)) unexpected.push(error);
        }
        if (started % 1000 === 0) {
          const asked = started;
          echoes.push((await healthy.client.call(ECHO, asked, ANONYMOUS)) === asked);
        }
      }
    };
    await Promise.all(Array.from({ length: 20 }, worker));
    t.same(unexpected, [], 'every failure is an RpcError');
    t.equal(outcomes.results + outcomes.errors, started, 'every call was settled');
    t.ok(outcomes.results > started / 20, `${outcomes.results} results`);
    t.ok(outcomes.errors > started / 20, `${outcomes.errors} errors`);
    t.equal(client.outstanding, 0, 'nothing is left over');
    t.ok(client.counters.garbage > 0, 'garbage was counted');
    t.ok(client.counters.badXids > 0, 'wrong XIDs were counted');
    t.ok(peakMemory() - before < 300 * MiB, 'memory stays bounded');
    const { garbage, badXids } = healthy.client.counters;
    t.ok(echoes.length > 0 && echoes.every(Boolean), 'the other client got its answers');
    t.same({ garbage, badXids }, { garbage: 0, badXids: 0 }, 'and nothing else');
    server.onCall = echo;
    t.equal(await client.call(ECHO, 4711, ANONYMOUS), 4711, 'the client works on');
  },
);

function encodedResult(one: (typeof everyCase)[number], g: Generator): Buffer {
  const random = new SeededRandom(1);
  for (;;) {
    const { fields } = replyFields(one, 0, g, random);
    const message = Buffer.concat(fields.map(({ bytes }) => bytes));
    // XID, type, accepted, verifier (2), success: what follows is the result.
    if (message.length >= 24 && message.readUInt32BE(8) === 0 && message.readUInt32BE(20) === 0) {
      return message.subarray(24);
    }
  }
}

t.test(
  'the client asks again through 10 million bytes of garbage until it is answered',
  { timeout: 100_000 },
  async (t) => {
    const random = new SeededRandom(FUZZ_SEED, 12);
    let left = fuzzCases(10_000_000);
    const sockets = new Set<net.Socket>();
    const listener = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
      if (left <= 0) {
        socket.on('data', (bytes: Buffer) => {
          const xid = bytes.readUInt32BE(4);
          socket.write(Buffer.concat([words(0x8000_0000 + 28), success(xid), words(lastArgument(bytes))]));
        });
        return;
      }
      socket.on('data', () => {
        const bytes = random.bytes(random.between(1, 60_000));
        left -= bytes.length;
        // Half the time the first mark is one that could be: more of the stream is looked at.
        if (bytes.length > 12 && random.oneIn(2)) words(0x8000_0000 + random.below(70_000)).copy(bytes);
        socket.end(bytes);
      });
    });
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const address = listener.address();
    const port = address !== null && typeof address === 'object' ? address.port : 0;
    const client = new RpcClient({ host: '127.0.0.1', port, clock: FAST, timeo: 300, retrans: 1 });
    t.teardown(() => {
      client.close();
      for (const socket of sockets) socket.destroy();
      listener.close();
    });
    const before = peakMemory();
    t.equal(await client.call(ECHO, 99, ANONYMOUS), 99, 'answered in the end');
    t.ok(left <= 0, 'all of the garbage went over');
    t.ok(client.counters.garbage > 10, `${client.counters.garbage} times it was called garbage`);
    t.ok(peakMemory() - before < 300 * MiB, 'memory stays bounded');
  },
);

function lastArgument(bytes: Buffer): number {
  return bytes.readUInt32BE(bytes.length - 4);
}

t.test('a reply with the XID of no call is counted and ignored', async (t) => {
  const { server, client } = await hurried(t);
  server.onCall = (call) => {
    call.connection.record(success(call.xid + 1), words(1));
    call.connection.record(success(call.xid - 1), words(2));
    call.connection.record(success(call.xid), words(lastWord(call)));
  };
  t.equal(await client.call(ECHO, 3, ANONYMOUS), 3);
  t.equal(client.counters.badXids, 2);
});
