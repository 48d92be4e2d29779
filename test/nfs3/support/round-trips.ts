/** Codecs against each other: what one half writes, the other reads back. */
import type { Test } from 'tap';
import { XdrError } from '../../../lib/xdr/xdr-error.js';
import { XdrReader } from '../../../lib/xdr/xdr-reader.js';
import { XdrWriter } from '../../../lib/xdr/xdr-writer.js';
import type { AnyCase } from './cases.js';
import { Generator } from './generator.js';

const VALUES = 50;

/** The bytes of what `write` writes. */
export function written(write: (writer: XdrWriter) => void): Buffer {
  const writer = new XdrWriter(64);
  write(writer);
  return Buffer.from(writer.toBuffer());
}

/** Values of each case, as arguments and as results: read back the same, to the last byte, and refused where bytes are missing. */
export function readsBack(t: Test, cases: readonly AnyCase[]): void {
  for (const { procedure, args, result } of cases) {
    const g = new Generator(procedure.name);
    for (let i = 0; i < VALUES; i++) {
      for (const [value, write, read] of [
        [args(g), procedure.encodeArguments, procedure.decodeArguments],
        [result(g), procedure.encodeResult, procedure.decodeResult],
      ] as const) {
        const bytes = written((writer) => write(writer, value));
        const reader = new XdrReader(bytes);
        t.strictSame(read(reader), value);
        reader.expectEnd();
        const end = g.below(bytes.length);
        if (bytes.length > 0) t.throws(() => read(new XdrReader(bytes.subarray(0, end))), XdrError);
      }
    }
  }
}
