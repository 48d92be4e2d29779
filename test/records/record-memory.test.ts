/** Records in memory that outlives the process: what is written is found again, and what is damaged is not gone by. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { adoptLiving, RecordMemory, RecordsError } from '../../lib/records/index.js';
import { publicFolder } from '../support/folders.js';
import { SeededRandom } from '../support/seeded-random.js';
import { untilEnd } from '../support/until-end.js';

const MIB = 1024 * 1024;

function memory(): RecordMemory {
  const made = RecordMemory.create();
  if (made === undefined) throw new Error('no memfd here');
  made.setFacts({ of: 'a test' });
  return made;
}

function contents(records: RecordMemory): string[] {
  return [...records.records()].map(({ kind, cells, content }) => `${kind} ${cells} ${content}`).sort();
}

t.test(
  'records of all sizes, their cells and the facts are found by the next one who opens the memory',
  async (t) => {
    const written = memory();
    const expected: string[] = [];
    for (let length = 0; length < 1400; length += 7) {
      const content = Buffer.alloc(length, 97 + (length % 26));
      const ref = written.put(1 + (length % 9), [length, 2 ** 40], content);
      written.setCell(ref, 0, length + 1);
      expected.push(`${1 + (length % 9)} ${length + 1},${2 ** 40} ${content}`);
    }
    written.setFacts({ of: 'another' });
    const found = RecordMemory.adopt(written.fd);
    t.same(contents(found), expected.sort());
    t.same(found.facts, { of: 'another' });
    t.equal(found.count, written.count);
  },
);

t.test('a record that is gone is not found, and its place is used again', async (t) => {
  const written = memory();
  const [first] = [written.put(1, [], Buffer.from('first')), written.put(1, [], Buffer.from('second'))];
  written.free(first);
  t.same(contents(RecordMemory.adopt(written.fd)), ['1  second']);
  t.equal(written.put(1, [], Buffer.from('third')), first);
});

t.test('memory goes back when the records go, and is used for other sizes', async (t) => {
  const written = memory();
  const refs = Array.from({ length: 50_000 }, (_, at) => written.put(1, [at], Buffer.alloc(100)));
  const most = written.bytes;
  t.ok(most > 6 * MIB);
  for (const ref of refs) written.free(ref);
  t.ok(written.bytes < MIB, `${written.bytes} bytes`);
  for (let at = 0; at < 10_000; at++) written.put(2, [], Buffer.alloc(300, 'x'));
  t.ok(written.bytes < most);
  t.equal(contents(RecordMemory.adopt(written.fd)).length, 10_000);
});

t.test('the one who adopts the records goes on with them', async (t) => {
  const written = memory();
  const refs = Array.from({ length: 1_000 }, (_, at) => written.put(1, [at], Buffer.from(`${at}`)));
  const next = RecordMemory.adopt(written.fd);
  for (const [at, ref] of refs.entries()) if (at % 2 === 0) next.free(ref);
  for (let at = 0; at < 600; at++) next.put(2, [], Buffer.from(`new ${at}`));
  const last = RecordMemory.adopt(written.fd);
  const kinds = [...last.records()].map(({ kind }) => kind);
  t.equal(kinds.filter((kind) => kind === 1).length, 500);
  t.equal(kinds.filter((kind) => kind === 2).length, 600);
});

t.test('of two records, the later has the higher stamp, also when another process goes on', async (t) => {
  const written = memory();
  written.put(1, [], Buffer.from('a'));
  const next = RecordMemory.adopt(written.fd);
  next.put(1, [], Buffer.from('b'));
  const stamps = new Map([...next.records()].map(({ content, stamp }) => [content.toString(), stamp]));
  t.ok((stamps.get('b') ?? 0) > (stamps.get('a') ?? 0));
});

t.test('damage anywhere is noticed, or does no harm', async (t) => {
  const seeded = new SeededRandom(7);
  const random = (): number => seeded.fraction();
  let noticed = 0;
  for (let round = 0; round < 300; round++) {
    const written = memory();
    for (let at = 0; at < 200; at++) written.put(3, [at, at * 1000], Buffer.from(`record ${at}`));
    const before = contents(written);
    // The records, or the head of the first chunk.
    const place = 64 * 1024 + Math.floor(random() * 12_000);
    writeSync(written.fd, Buffer.from([1 + Math.floor(random() * 255)]), 0, 1, place);
    try {
      const found = RecordMemory.adopt(written.fd);
      const after = contents(found);
      // A slot that says that it is free is believed: the same as if the record had not been written yet.
      t.ok(
        after.every((record) => before.includes(record)),
        `byte ${place}`,
      );
    } catch (error) {
      t.type(error, RecordsError);
      noticed++;
    }
    closeSync(written.fd);
  }
  t.ok(noticed > 150, `${noticed} noticed`);
});

t.test('a file that is cut off, empty, another file, or of another version is refused', async (t) => {
  const folder = untilEnd(t, publicFolder());
  const file = (name: string, content: Uint8Array): number => {
    const fd = openSync(join(folder.path, name), 'w+');
    writeSync(fd, content);
    return fd;
  };
  const fault = (fd: number): string => {
    try {
      RecordMemory.adopt(fd);
      return 'none';
    } catch (error) {
      return error instanceof RecordsError ? error.fault : String(error);
    }
  };
  t.equal(fault(file('empty', Buffer.alloc(0))), 'damaged');
  t.equal(fault(file('zeros', Buffer.alloc(MIB / 16))), 'damaged');
  t.equal(fault(file('text', Buffer.alloc(MIB / 16, 'text'))), 'damaged');
  const fd = file('state', Buffer.alloc(0));
  const written = RecordMemory.createIn(fd);
  written?.setFacts({});
  written?.put(1, [], Buffer.from('x'));
  t.equal(fault(fd), 'none');
  writeSync(fd, Buffer.from([9]), 0, 1, 4);
  t.equal(fault(fd), 'version');
});

t.test('a record that its process is writing at that moment is no damage, and lasting damage is', (t) => {
  const written = memory();
  written.setFacts({});
  written.put(1, [], Buffer.from('content'));
  const { adoptAgain } = RecordMemory.prototype;
  t.teardown(() => Object.assign(RecordMemory.prototype, { adoptAgain }));
  /** How often the records are looked at, if the first looks fail so. */
  const looks = (
    failing: number,
    fault: 'damaged' | 'version',
    adopt: (fd: number) => RecordMemory,
  ): string => {
    let count = 0;
    Object.assign(RecordMemory.prototype, {
      adoptAgain(this: RecordMemory) {
        if (++count <= failing) throw new RecordsError(fault, 'for a test');
        adoptAgain.call(this);
      },
    });
    try {
      return `${adopt(written.fd).count} record, ${count} looks`;
    } catch (error) {
      return `${(error as RecordsError).fault} after ${count}`;
    }
  };
  t.equal(looks(1, 'damaged', RecordMemory.adopt), 'damaged after 1');
  t.equal(looks(9, 'damaged', adoptLiving), '1 record, 10 looks');
  t.equal(looks(10, 'damaged', adoptLiving), 'damaged after 10');
  t.equal(looks(1, 'version', adoptLiving), 'version after 1');
  t.end();
});

t.test(
  'cells that belong to no record are zero at first, and the largest facts leave them alone',
  async (t) => {
    const written = memory();
    t.same(new Set(written.cells), new Set([0]));
    written.cells.forEach((_, at) => {
      written.cells[at] = at + 0.5;
    });
    for (const sign of ['a', 'b']) written.setFacts({ long: sign.repeat(28 * 1024 - 100) });
    const found = RecordMemory.adopt(written.fd);
    t.equal(found.cells.length, 512);
    t.ok(found.cells.every((value, at) => value === at + 0.5));
    t.same(found.facts, written.facts);
  },
);

t.test(
  'records that were written after the memory was adopted are found when it is adopted again',
  async (t) => {
    const written = memory();
    for (let at = 0; at < 100; at++) written.put(1, [at], Buffer.from(`${at}`));
    const next = RecordMemory.adopt(written.fd);
    const refs = Array.from({ length: 10_000 }, (_, at) => written.put(2, [at], Buffer.alloc(300, 'x')));
    for (const ref of refs.slice(0, 5_000)) written.free(ref);
    written.setFacts({ of: 'later' });
    written.freeze();
    t.equal(written.put(3, [], Buffer.from('too late')), 0);
    next.adoptAgain();
    t.equal(next.count, 5_100);
    t.same(next.facts, { of: 'later' });
    for (let at = 0; at < 6_000; at++) next.put(4, [], Buffer.alloc(300, 'y'));
    const last = RecordMemory.adopt(written.fd);
    const kinds = [...last.records()].map(({ kind }) => kind);
    t.same(
      [1, 2, 3, 4].map((kind) => kinds.filter((one) => one === kind).length),
      [100, 5_000, 0, 6_000],
    );
  },
);

t.test('who has left the memory to another changes nothing of it any more', async (t) => {
  const written = memory();
  written.setFacts({ of: 'the first' });
  const ref = written.put(1, [7], Buffer.from('kept'));
  const block = written.takeBlock();
  if (block === undefined) throw new Error('there is no block');
  block.bytes.fill(9);
  written.freeze();
  written.free(ref);
  written.setCell(ref, 0, 8);
  written.setFacts({ of: 'too late' });
  written.giveBlock(block);
  t.equal(written.takeBlock(), undefined);
  const next = RecordMemory.adopt(written.fd);
  t.same(next.facts, { of: 'the first' });
  t.same(
    [...next.records()].map(({ cells, content }) => [...cells, content.toString()]),
    [[7, 'kept']],
  );
  t.equal(next.blockWith(block.base)?.bytes[100], 9);
});

t.test('cells, facts and blocks of data lie beside each other', async (t) => {
  const written = memory();
  written.cells.fill(0.5);
  written.setFacts({ of: 'x'.repeat(20_000) });
  for (let at = 0; at < 5; at++) {
    written.takeBlock()?.bytes.fill(at + 1);
    written.put(1, [at], Buffer.alloc(1_000, 'r'));
  }
  written.cells.fill(1.5);
  const found = RecordMemory.adopt(written.fd);
  t.ok(found.cells.every((value) => value === 1.5));
  t.same(found.facts, written.facts);
  t.equal(found.count, 5);
  t.equal(contents(found).length, 5);
});
