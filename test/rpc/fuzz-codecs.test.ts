/** Mutated replies, mutated records and plain garbage: nothing but the errors that say so, and memory stays bounded. */
import t from 'tap';
import { decodeCallHeader, decodeReplyBody } from '../../lib/rpc/wire/message.js';
import { RecordAssembler, RecordMarkError } from '../../lib/rpc/wire/record-mark.js';
import { XdrError } from '../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../lib/xdr/xdr-reader.js';
import { Generator } from '../nfs3/support/generator.js';
import { SeededRandom } from '../support/seeded-random.js';
import { FieldWriter, mutated } from './support/fields.js';
import { FUZZ_SEED, fuzzCases, peakMemory } from './support/fuzz-size.js';
import { ANONYMOUS } from './support/procedures.js';
import { everyCase, nameOf, replyFields } from './support/results.js';

const MiB = 1024 * 1024;
const XID_AND_TYPE = 8;

/** True where the bytes were refused; fails for any error but the one that is right. */
function refused(decode: () => unknown, rightError: new (...args: never[]) => Error): boolean {
  try {
    decode();
    return false;
  } catch (error) {
    if (error instanceof rightError) return true;
    throw error;
  }
}

/** Reads a reply as the client does. */
function decodeReply(one: (typeof everyCase)[number], message: Buffer): unknown {
  const reader = new XdrReader(message, Math.min(XID_AND_TYPE, message.length));
  if (decodeReplyBody(reader, ANONYMOUS) !== undefined) return undefined;
  return one.procedure.decodeResult(reader);
}

t.test('each of 100 000 mutated replies of every procedure ends in XdrError or a result', async (t) => {
  const random = new SeededRandom(FUZZ_SEED, 1);
  const g = new Generator(`replies ${FUZZ_SEED}`);
  const before = peakMemory();
  const outcomes = { refused: 0, read: 0 };
  const total = fuzzCases(100_000);
  // Values are dear to make: each is mutated many times.
  const perValue = 25;
  for (let done = 0; done < total; ) {
    for (const one of everyCase) {
      const fields = replyFields(one, 7, g, random).fields;
      for (let i = 0; i < perValue; i++, done++) {
        const message = mutated(fields, random);
        try {
          if (refused(() => decodeReply(one, message), XdrError)) outcomes.refused += 1;
          else outcomes.read += 1;
        } catch (error) {
          t.fail(`${nameOf(one)} case ${done}: ${String(error)}`, { reply: message.toString('hex') });
          return;
        }
      }
    }
  }
  t.ok(outcomes.refused > total / 10, `${outcomes.refused} refused`);
  t.ok(outcomes.read > total / 10, `${outcomes.read} read as something`);
  t.ok(peakMemory() - before < 300 * MiB, 'memory stays bounded');
});

t.test('mutated calls of every procedure end in XdrError or arguments on our own server', async (t) => {
  const random = new SeededRandom(FUZZ_SEED, 2);
  const g = new Generator(`calls ${FUZZ_SEED}`);
  let refusals = 0;
  const total = fuzzCases(30_000);
  for (let done = 0; done < total; ) {
    for (const one of everyCase) {
      const writer = new FieldWriter();
      one.procedure.encodeArguments(writer, one.args(g));
      for (let i = 0; i < 25; i++, done++) {
        const message = mutated(writer.fields, random);
        if (refused(() => one.procedure.decodeArguments(new XdrReader(message)), XdrError)) refusals += 1;
        if (refused(() => decodeCallHeader(new XdrReader(message)), XdrError)) refusals += 1;
      }
    }
  }
  t.ok(refusals > total / 10, `${refusals} refused`);
});

/** Garbage with a grain of sense: now and then a mark that could be true, or the start of a reply. */
function garbage(random: SeededRandom, length: number): Buffer {
  const bytes = random.bytes(length);
  for (let at = 0; at + 32 < length; at += random.between(4, 4000)) {
    if (random.oneIn(3)) bytes.writeUInt32BE((random.oneIn(3) ? 0 : 0x8000_0000) + random.below(2000), at);
    if (random.oneIn(3)) {
      bytes.writeUInt32BE(1, at + 8);
      bytes.fill(0, at + 12, at + 12 + random.below(16));
    }
  }
  return bytes;
}

t.test('10 million bytes of garbage as a stream end in RecordMarkError or records', async (t) => {
  const random = new SeededRandom(FUZZ_SEED, 3);
  const before = peakMemory();
  const outcomes = { broken: 0, messages: 0 };
  const total = fuzzCases(10_000_000);
  const maxRecord = 2 * MiB;
  let next = 0;
  let assembler: RecordAssembler | undefined;
  const deliver = (message: Buffer): void => {
    outcomes.messages += 1;
    const one = everyCase[next++ % everyCase.length];
    if (one !== undefined) refused(() => decodeReply(one, message), XdrError);
  };
  for (let done = 0; done < total; ) {
    assembler ??= new RecordAssembler(maxRecord, deliver);
    const chunk = garbage(random, random.between(1, 30_000));
    done += chunk.length;
    // As sockets bring it: into the assembler's own memory, in any portions.
    const bytes = chunk;
    const broke = refused(() => {
      for (let at = 0; at < bytes.length; ) {
        const room = assembler?.readBuffer() ?? Buffer.alloc(0);
        const count = Math.min(room.length, bytes.length - at, random.between(1, 9000));
        bytes.copy(room, 0, at, at + count);
        assembler?.received(count);
        at += count;
      }
    }, RecordMarkError);
    if (!broke) continue;
    outcomes.broken += 1;
    assembler.stop();
    assembler = undefined;
  }
  t.ok(outcomes.broken > 100, `${outcomes.broken} streams were ended`);
  t.ok(outcomes.messages > 100, `${outcomes.messages} messages came of it`);
  t.ok(peakMemory() - before < 300 * MiB, 'memory stays bounded');
});

t.test('10 million bytes of garbage, as messages', async (t) => {
  const random = new SeededRandom(FUZZ_SEED, 4);
  let refusals = 0;
  let messages = 0;
  for (let left = fuzzCases(10_000_000); left > 0; ) {
    const message = garbage(random, random.between(8, 3000));
    left -= message.length;
    // The header is right every other time, so that the results get their share.
    if (random.oneIn(2)) message.fill(0, 8, Math.min(message.length, random.pick([24, 28])));
    const one = everyCase[messages++ % everyCase.length];
    if (one === undefined) continue;
    if (refused(() => decodeReply(one, message), XdrError)) refusals += 1;
  }
  t.ok(refusals > messages / 10, `${refusals} of ${messages} refused`);
});

t.test('messages that are not mutated can be read, so that the fuzzer mutates the right thing', async (t) => {
  const random = new SeededRandom(FUZZ_SEED, 5);
  const g = new Generator('unmutated');
  for (const one of everyCase) {
    const { fields } = replyFields(one, 7, g, random);
    t.doesNotThrow(() => decodeReply(one, Buffer.concat(fields.map(({ bytes }) => bytes))), nameOf(one));
  }
});
