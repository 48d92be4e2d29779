/**
 * Counts the round trips that wait for one another, without a clock. A relay between a client and its server holds the
 * client's calls until everybody sleeps: the client, its programs, and the server with nothing left to answer. Nobody
 * can then send anything before a reply comes, so what is held is all that goes out together: one round. It is let go
 * as a whole, and the next round begins. The number of rounds is what the work would take on a wire with any delay,
 * in round trips, if nothing else took time.
 *
 * Everybody sleeps when no thread of any process that this one has started runs or has run between two looks
 * (/proc/PID/task/TID/status). A thread that something has been sent to counts as running from that moment.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { descendants } from '../../bench/cost.js';

/** Looks in a row without any change, after which nobody runs. */
const QUIET_LOOKS = 3;

/** The messages in a stream of records (RFC 5531, section 11), counted as they end. */
class RecordCounter {
  #mark = Buffer.alloc(0);
  #left = 0;
  #last = false;
  ended = 0;

  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left === 0) {
        const wanted = 4 - this.#mark.length;
        this.#mark = Buffer.concat([this.#mark, rest.subarray(0, wanted)]);
        rest = rest.subarray(wanted);
        if (this.#mark.length < 4) return;
        const mark = this.#mark.readUInt32BE();
        this.#mark = Buffer.alloc(0);
        this.#last = mark >= 0x8000_0000;
        this.#left = mark & 0x7fff_ffff;
      } else {
        const taken = Math.min(this.#left, rest.length);
        this.#left -= taken;
        rest = rest.subarray(taken);
      }
      if (this.#left === 0 && this.#last) this.ended++;
    }
  }
}

interface Line {
  readonly server: Socket;
  readonly calls: RecordCounter;
  readonly replies: RecordCounter;
  held: Buffer[];
}

/** The state of all threads of the processes that this one has started; undefined while one of them runs. */
function stillness(): string | undefined {
  const seen: string[] = [];
  for (const pid of descendants(process.pid)) {
    try {
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'latin1');
        const state = /^State:\s+(\w)/m.exec(status)?.[1] ?? '';
        if (state === 'R') return undefined;
        seen.push(thread, state, ...(status.match(/ctxt_switches:\s+\d+/g) ?? []));
      }
    } catch {
      // A process that has just ended.
      return undefined;
    }
  }
  return seen.join(' ');
}

const nextTurn = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

export class RoundRelay {
  readonly #lines = new Set<Line>();
  readonly #sockets = new Set<Socket>();
  /** Calls are held. */
  #holding = false;
  #events = 0;

  private constructor(
    readonly port: number,
    private readonly server: Server,
  ) {}

  /** Listens on a free port of 127.0.0.1, and passes connections on to `target` there. */
  static async start(target: number): Promise<RoundRelay> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const relay = new RoundRelay((server.address() as AddressInfo).port, server);
    server.on('connection', (client) => relay.#pass(client, target));
    return relay;
  }

  #pass(client: Socket, target: number): void {
    const server = connect({ port: target, host: '127.0.0.1', noDelay: true });
    const line: Line = { server, calls: new RecordCounter(), replies: new RecordCounter(), held: [] };
    client.setNoDelay(true);
    this.#lines.add(line);
    for (const [socket, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        this.#lines.delete(line);
        other.destroy();
      });
    }
    client.on('data', (chunk: Buffer) => {
      this.#events++;
      line.held.push(chunk);
      if (!this.#holding) this.#letGo(line);
    });
    server.on('data', (chunk: Buffer) => {
      this.#events++;
      line.replies.push(chunk);
      client.write(chunk);
    });
  }

  #letGo(line: Line): void {
    for (const chunk of line.held) {
      line.calls.push(chunk);
      line.server.write(chunk);
    }
    line.held = [];
  }

  /** The rounds that `work` takes, until it has ended; calls that it leaves behind then are no longer counted. */
  async rounds(work: () => Promise<unknown>): Promise<number> {
    let rounds = 0;
    let ended = false;
    this.#holding = true;
    const working = work().finally(() => {
      ended = true;
    });
    working.catch(() => undefined);
    try {
      while (!ended) {
        const lines = [...this.#lines];
        const held = lines.filter((line) => line.held.length > 0);
        if (held.length === 0 || !(await this.#everybodySleeps(() => ended))) {
          await nextTurn();
          continue;
        }
        rounds++;
        for (const line of held) this.#letGo(line);
      }
    } finally {
      this.#holding = false;
      for (const line of this.#lines) this.#letGo(line);
    }
    await working;
    return rounds;
  }

  async #everybodySleeps(isOver: () => boolean): Promise<boolean> {
    let before: string | undefined;
    for (let quiet = 0; quiet < QUIET_LOOKS; quiet++) {
      const events = this.#events;
      if ([...this.#lines].some(({ calls, replies }) => calls.ended > replies.ended)) return false;
      const now = stillness();
      if (now === undefined || (before !== undefined && now !== before)) return false;
      before = now;
      await nextTurn();
      if (isOver() || events !== this.#events) return false;
    }
    return true;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }
}
