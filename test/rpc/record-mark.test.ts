/** Records out of a stream that may be cut anywhere, and a stream that lies about them. */
import t from 'tap';
import { RecordAssembler, RecordMarkError } from '../../lib/rpc/wire/record-mark.js';

const MAX = 1024 * 1024;

/** A fragment with its header. */
function fragment(data: Buffer, last: boolean): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt32BE((last ? 0x8000_0000 : 0) + data.length);
  return Buffer.concat([header, data]);
}

function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 7 + seed) & 255;
  return bytes;
}

/** Both ways to feed an assembler: its own memory, filled as a socket would; and memory brought along. */
const feeders = {
  readBuffer(assembler: RecordAssembler, bytes: Buffer): void {
    for (let position = 0; position < bytes.length; ) {
      const room = assembler.readBuffer();
      const count = bytes.copy(room, 0, position);
      assembler.received(count);
      position += count;
    }
  },
  push(assembler: RecordAssembler, bytes: Buffer): void {
    assembler.push(Buffer.from(bytes));
  },
};

for (const [name, feed] of Object.entries(feeders)) {
  t.test(`${name}: records are put together wherever the stream is cut`, async (t) => {
    const records = [pattern(40, 1), Buffer.alloc(0), pattern(1, 2), pattern(25, 3)];
    const stream = Buffer.concat([
      fragment(records[0] as Buffer, true),
      fragment(records[1] as Buffer, true),
      fragment(records[2] as Buffer, true),
      fragment((records[3] as Buffer).subarray(0, 10), false),
      fragment(Buffer.alloc(0), false),
      fragment((records[3] as Buffer).subarray(10, 24), false),
      fragment((records[3] as Buffer).subarray(24), false),
      fragment(Buffer.alloc(0), true),
    ]);
    for (let first = 0; first <= stream.length; first++) {
      for (let second = first; second <= stream.length; second += 3) {
        const got: Buffer[] = [];
        const assembler = new RecordAssembler(MAX, (message) => got.push(message));
        feed(assembler, stream.subarray(0, first));
        feed(assembler, stream.subarray(first, second));
        feed(assembler, stream.subarray(second));
        if (!got.every((record, index) => record.equals(records[index] as Buffer)) || got.length !== 4) {
          t.same(got, records, `cut at ${first} and ${second}`);
        }
      }
    }
    const got: Buffer[] = [];
    const assembler = new RecordAssembler(MAX, (message) => got.push(message));
    for (const byte of stream) feed(assembler, Buffer.from([byte]));
    t.same(got, records, 'one byte at a time');
  });

  t.test(`${name}: records larger than a chunk arrive whole, in one fragment or many`, async (t) => {
    const large = pattern(300_000, 5);
    const small = pattern(100, 6);
    const many: Buffer[] = [];
    for (let position = 0; position < large.length; position += 1000) {
      many.push(fragment(large.subarray(position, position + 1000), position + 1000 >= large.length));
    }
    const stream = Buffer.concat([
      fragment(small, true),
      fragment(large, true),
      fragment(small, true),
      ...many,
      fragment(large, true),
      fragment(large, true),
      fragment(small, true),
    ]);
    for (const step of [stream.length, 65536, 10_007, 1_000]) {
      const got: Buffer[] = [];
      const assembler = new RecordAssembler(MAX, (message) => got.push(message));
      for (let position = 0; position < stream.length; position += step) {
        feed(assembler, stream.subarray(position, position + step));
      }
      t.same(
        got.map((record) => record.length),
        [100, 300_000, 100, 300_000, 300_000, 300_000, 100],
      );
      t.ok(
        got.every((record) => record.equals(record.length === 100 ? small : large)),
        `in steps of ${step}`,
      );
    }
  });

  t.test(`${name}: what was handed out is never written again`, async (t) => {
    const held: { record: Buffer; copy: Buffer }[] = [];
    const assembler = new RecordAssembler(MAX, (record) => held.push({ record, copy: Buffer.from(record) }));
    for (let index = 0; index < 3000; index++) {
      feed(assembler, fragment(pattern((index * 37) % 5000, index), true));
    }
    t.equal(held.length, 3000);
    t.ok(held.every(({ record, copy }) => record.equals(copy)));
  });

  t.test(
    `${name}: a record above the limit is refused when its length is seen, not when it is there`,
    async (t) => {
      const header = Buffer.alloc(4);
      header.writeUInt32BE(0x8000_0000 + MAX + 1);
      const assembler = new RecordAssembler(MAX, () => t.fail('no record'));
      t.throws(() => feed(assembler, header), RecordMarkError);
      const parts = new RecordAssembler(100, () => t.fail('no record'));
      feed(parts, fragment(Buffer.alloc(60), false));
      t.throws(() => feed(parts, fragment(Buffer.alloc(41), false)), {
        message: 'record of 101 bytes, more than 100',
      });
      const longest = new RecordAssembler(100, (record) => t.equal(record.length, 100));
      feed(longest, fragment(Buffer.alloc(60), false));
      feed(longest, fragment(Buffer.alloc(40), true));
    },
  );

  t.test(`${name}: an endless row of empty fragments ends in an error`, async (t) => {
    const assembler = new RecordAssembler(MAX, () => t.fail('no record'));
    const empty = fragment(Buffer.alloc(0), false);
    t.throws(() => {
      for (let count = 0; count < 100_000; count++) feed(assembler, empty);
    }, RecordMarkError);
  });

  t.test(`${name}: after stop() nothing is delivered, not even from the same bytes`, async (t) => {
    let count = 0;
    const assembler = new RecordAssembler(MAX, () => {
      count += 1;
      assembler.stop();
    });
    feed(assembler, Buffer.concat([fragment(Buffer.alloc(8), true), fragment(Buffer.alloc(8), true)]));
    feed(assembler, fragment(Buffer.alloc(8), true));
    t.equal(count, 1);
  });
}

t.test('the rest of a large record is read straight into the record', async (t) => {
  let record: Buffer | undefined;
  const assembler = new RecordAssembler(MAX, (message) => {
    record = message;
  });
  const stream = fragment(pattern(500_000, 1), true);
  const taken = stream.copy(assembler.readBuffer());
  assembler.received(taken);
  const room = assembler.readBuffer();
  t.equal(room.length, stream.length - taken, 'room for exactly the rest');
  stream.copy(room, 0, taken);
  assembler.received(room.length);
  t.ok(record?.equals(stream.subarray(4)));
  t.equal(record?.buffer, room.buffer, 'the record is the memory that was read into');
});

t.test(
  'the reader reads only little ahead after a large record, because it would have to copy that',
  async (t) => {
    const assembler = new RecordAssembler(MAX, () => {});
    t.equal(assembler.readBuffer().length, 65536);
    feeders.readBuffer(assembler, fragment(Buffer.alloc(200_000), true));
    t.ok(assembler.readBuffer().length <= 4096);
    feeders.readBuffer(assembler, fragment(Buffer.alloc(100), true));
    t.ok(assembler.readBuffer().length > 32768, 'and much again after a small one');
  },
);

t.test('a record in thousands of small fragments arrives whole', async (t) => {
  let got = 0;
  const assembler = new RecordAssembler(MAX, (record) => {
    got = record.length;
  });
  for (let count = 0; count < 4000; count++) feeders.push(assembler, fragment(Buffer.alloc(250), false));
  feeders.push(assembler, fragment(Buffer.alloc(1), true));
  t.equal(got, 1_000_001);
});

t.test(
  'random streams end in records or in a RecordMarkError, and never ask for more memory than a record',
  async (t) => {
    let state = 4711;
    const random = (limit: number): number => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
    const limit = 100_000;
    let refused = 0;
    let delivered = 0;
    for (let round = 0; round < 300; round++) {
      let over = 0;
      const assembler = new RecordAssembler(limit, (record) => {
        delivered += 1;
        if (record.length > limit) over += 1;
      });
      try {
        for (let step = 0; step < 50; step++) {
          const header = Buffer.alloc(4);
          // Lengths around the limit and small ones, so that streams get on for a while.
          header.writeUInt32BE(random(2) * 0x8000_0000 + random(step % 10 === 9 ? 2 * limit : 500));
          const body = Buffer.from(Array.from({ length: random(400) }, () => random(4) * 85));
          for (const bytes of [header, body]) {
            const room = assembler.readBuffer();
            if (room.length === 0 || room.length > Math.max(limit, 65536))
              t.fail(`room for ${room.length} bytes`);
            feeders.readBuffer(assembler, bytes);
          }
        }
      } catch (error) {
        if (!(error instanceof RecordMarkError)) throw error;
        refused += 1;
      }
      t.equal(over, 0);
    }
    t.ok(refused > 50 && delivered > 50, `${refused} refused, ${delivered} delivered`);
  },
);

t.test('push() takes memory for the bytes that have come, not for those announced', async (t) => {
  const connections = 200;
  const beginning = Buffer.from(fragment(Buffer.alloc(MAX), true).subarray(0, 10));
  const before = process.memoryUsage().arrayBuffers;
  const assemblers = Array.from({ length: connections }, () => {
    const assembler = new RecordAssembler(MAX, () => t.fail('no record is complete'));
    assembler.push(beginning);
    return assembler;
  });
  const each = (process.memoryUsage().arrayBuffers - before) / assemblers.length;
  t.ok(each < 64 * 1024, `${Math.round(each)} bytes for each`);
});
