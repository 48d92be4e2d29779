/** One connection through the fault proxy: two sockets, and a lane of records for each direction. */
import net from 'node:net';
import type { Timer } from '../../lib/base/clock.js';
import { resetSocket } from '../../lib/rpc/transport/reset-socket.js';
import type { Direction, Fault } from './fault-plan.js';
import type { FaultProxy } from './fault-proxy.js';
import { CallTable, RecordSplitter, type WireRecord } from './record-stream.js';

/** The time that the server has to finish the calls of a connection that is gone. */
const SETTLE_MS = 5_000;

/** A record on its way; one that is overtaken counts by how many more. */
interface Queued {
  readonly record: WireRecord;
  readonly copies: number;
  overtakers: number;
}

/** Records in one direction: those that may go on, in order, and those that are held up. */
class Lane {
  readonly splitter = new RecordSplitter();
  seen = 0;
  /** In the order in which they leave. */
  readonly queue: Queued[] = [];
  /** Put aside, to be overtaken. */
  readonly aside = new Set<Queued>();
  /** Delays under way: the queue stands still. */
  delays = 0;
}

export class ProxyLink {
  /** Resolves when the server has nothing of this connection left to do. */
  readonly settled: Promise<void>;
  readonly #proxy: FaultProxy;
  readonly #client: net.Socket;
  readonly #number: number;
  readonly #calls = new CallTable();
  readonly #lanes: { readonly [direction in Direction]: Lane } = { call: new Lane(), reply: new Lane() };
  #server: net.Socket | undefined;
  #connected = false;
  #cut = false;
  /** The part that the server still gets of a record that was cut in its middle. */
  #lastWords: Buffer | undefined;
  #settle: () => void = () => undefined;
  #patience: Timer | undefined;

  constructor(proxy: FaultProxy, client: net.Socket, number: number) {
    this.#proxy = proxy;
    this.#client = client;
    this.#number = number;
    this.settled = new Promise((resolve) => {
      this.#settle = () => {
        this.#patience?.cancel();
        resolve();
      };
    });
    client.on('data', (bytes: Buffer) => this.#arrived('call', bytes));
    client.on('close', () => this.breakOff());
  }

  /** The client's side is gone. */
  get cut(): boolean {
    return this.#cut;
  }

  /** Connects to the server; the client has been sending meanwhile. */
  connect(): void {
    if (this.#cut) {
      this.#settle();
      return;
    }
    const server = net.connect({ host: '127.0.0.1', port: this.#proxy.upstream, noDelay: true });
    this.#server = server;
    server.on('error', () => undefined);
    server.on('connect', () => {
      this.#connected = true;
      this.pump();
    });
    server.on('data', (bytes: Buffer) => this.#arrived('reply', bytes));
    server.on('close', () => {
      this.#settle();
      this.breakOff();
    });
  }

  /** Resets the client's connection; the server's ends when it has answered what it was asked. */
  breakOff(): void {
    if (this.#cut) return;
    this.#cut = true;
    resetSocket(this.#client);
    this.#endServer();
  }

  /** Ends both sides at once. */
  destroy(): void {
    this.#cut = true;
    this.#client.destroy();
    this.#server?.destroy();
    this.#settle();
  }

  #endServer(): void {
    const server = this.#server;
    if (server === undefined || server.destroyed) {
      this.#settle();
      return;
    }
    if (this.#calls.size === 0) this.#dismissServer();
    else this.#patience = this.#proxy.clock.after(SETTLE_MS, () => this.#dismissServer());
  }

  #dismissServer(): void {
    const server = this.#server;
    if (server === undefined || server.destroyed) return;
    const words = this.#lastWords;
    this.#lastWords = undefined;
    if (words === undefined) server.destroy();
    else server.end(words, () => server.destroy());
  }

  // ---- records

  #arrived(direction: Direction, bytes: Buffer): void {
    if (this.#cut && direction === 'call') return;
    const lane = this.#lanes[direction];
    let records: Buffer[];
    try {
      records = lane.splitter.push(bytes);
    } catch {
      this.breakOff();
      this.#dismissServer();
      return;
    }
    for (const raw of records) {
      const record = direction === 'call' ? this.#calls.call(raw) : this.#calls.reply(raw);
      if (!this.#cut) this.#decide(direction, lane, record);
    }
    if (this.#cut) {
      if (this.#calls.size === 0) this.#dismissServer();
    } else this.pump();
  }

  #decide(direction: Direction, lane: Lane, record: WireRecord): void {
    const { counters, plan } = this.#proxy;
    counters[direction === 'call' ? 'calls' : 'replies'] += 1;
    const index = lane.seen++;
    const { procedure, bytes } = record;
    const fault = plan.decide({
      direction,
      connection: this.#number,
      index,
      procedure,
      length: bytes.length,
    });
    if (fault === undefined) this.#pass(lane, { record, copies: 1, overtakers: 0 });
    else {
      const what = `${procedure ?? 'unknown'} ${direction} ${index} of connection ${this.#number}`;
      this.#proxy.log(`${JSON.stringify(fault)} ${what}`);
      this.#meet(fault, direction, lane, record);
    }
  }

  #meet(fault: Fault, direction: Direction, lane: Lane, record: WireRecord): void {
    const { counters, clock } = this.#proxy;
    const queued: Queued = { record, copies: 1, overtakers: 0 };
    switch (fault.kind) {
      case 'drop':
        counters.dropped += 1;
        if (fault.cutAfter !== undefined) clock.after(fault.cutAfter, () => this.#cutNow());
        return;
      case 'delay':
        counters.delayed += 1;
        lane.delays += 1;
        clock.after(fault.ms, () => {
          lane.delays -= 1;
          this.pump();
        });
        this.#pass(lane, queued);
        return;
      case 'duplicate':
        counters.duplicated += 1;
        this.#pass(lane, { ...queued, copies: fault.times ?? 2 });
        return;
      case 'reorder':
        counters.reordered += 1;
        queued.overtakers = fault.by;
        lane.aside.add(queued);
        clock.after(fault.ms, () => this.#rejoin(lane, queued));
        return;
      case 'truncate':
        counters.truncated += 1;
        this.#pass(lane, { ...queued, record: { ...record, bytes: truncated(record.bytes, fault.length) } });
        return;
      case 'corrupt':
        counters.corrupted += 1;
        this.#pass(lane, { ...queued, record: { ...record, bytes: corrupted(record.bytes, fault.places) } });
        return;
      case 'garbage':
        counters.garbage += fault.bytes.length;
        this.#pass(lane, { ...queued, record: { ...record, bytes: fault.bytes } });
        return;
      case 'cut':
        this.#cutInside(direction, record.bytes.subarray(0, fault.bytes));
        return;
      case 'refuse':
        this.#proxy.refuse(fault.ms);
        this.#cutNow();
        return;
      case 'pause':
        this.#proxy.pause(fault.ms);
        this.#pass(lane, queued);
    }
  }

  /** Into the queue; those that waited to be overtaken often enough follow. */
  #pass(lane: Lane, queued: Queued): void {
    lane.queue.push(queued);
    for (const waiting of [...lane.aside]) {
      waiting.overtakers -= 1;
      if (waiting.overtakers > 0) continue;
      lane.aside.delete(waiting);
      lane.queue.push(waiting);
    }
  }

  #rejoin(lane: Lane, queued: Queued): void {
    if (!lane.aside.delete(queued)) return;
    lane.queue.push(queued);
    this.pump();
  }

  #cutNow(): void {
    if (this.#cut) return;
    this.#proxy.counters.cut += 1;
    this.breakOff();
  }

  /** The receiver gets part of a record and the end of the stream, the sender a reset. */
  #cutInside(direction: Direction, part: Buffer): void {
    if (direction === 'call') {
      if (part.length > 0) this.#lastWords = part;
      this.#cutNow();
      return;
    }
    this.#proxy.counters.cut += 1;
    this.#cut = true;
    const client = this.#client;
    client.end(part, () => client.destroy());
    this.#endServer();
  }

  /** Sends what nothing holds up. */
  pump(): void {
    if (this.#cut || !this.#connected || this.#proxy.paused) return;
    for (const direction of ['call', 'reply'] as const) {
      const lane = this.#lanes[direction];
      if (lane.delays > 0) continue;
      const target = direction === 'call' ? this.#server : this.#client;
      for (const { record, copies } of lane.queue.splice(0)) {
        if (direction === 'call') this.#calls.forwarded(record);
        for (let copy = 0; copy < copies; copy++) target?.write(record.bytes);
      }
    }
  }
}

/** The record as one fragment with only the first `length` bytes of the message. */
function truncated(bytes: Buffer, length: number): Buffer {
  const kept = Math.max(0, Math.min(length, bytes.length - 4));
  const record = Buffer.from(bytes.subarray(0, 4 + kept));
  record.writeUInt32BE(0x8000_0000 + kept, 0);
  return record;
}

/** The record with one bit wrong at each of the places; which bit goes by the place. */
function corrupted(bytes: Buffer, places: readonly number[]): Buffer {
  const record = Buffer.from(bytes);
  for (const place of places) {
    const at = 4 + Math.floor(place * (record.length - 4));
    record[at] = (record[at] ?? 0) ^ (1 << (Math.floor(place * 1000) % 8));
  }
  return record;
}
