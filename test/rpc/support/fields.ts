/** XDR messages that know where their fields are, and mutations of them: what a structure-aware fuzzer needs. */
import { XdrWriter } from '../../../lib/xdr/xdr-writer.js';
import type { SeededRandom } from '../../support/seeded-random.js';

type Kind = 'word' | 'hyper' | 'bool' | 'length' | 'bytes';

export interface Field {
  readonly kind: Kind;
  readonly bytes: Buffer;
}

/** Writes as XdrWriter does, and keeps every field apart. Everything is copied. */
export class FieldWriter extends XdrWriter {
  readonly fields: Field[] = [];

  #word(kind: Kind, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value >>> 0);
    this.fields.push({ kind, bytes });
  }

  override uint32(value: number): void {
    this.#word('word', value);
  }

  override int32(value: number): void {
    this.#word('word', value);
  }

  override uint64(value: bigint): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(value);
    this.fields.push({ kind: 'hyper', bytes });
  }

  override uint64FromNumber(value: number): void {
    this.uint64(BigInt(value));
  }

  override bool(value: boolean): void {
    this.#word('bool', value ? 1 : 0);
  }

  override opaqueFixed(bytes: Uint8Array): void {
    const padded = Buffer.alloc((bytes.length + 3) & ~3);
    padded.set(bytes);
    this.fields.push({ kind: 'bytes', bytes: padded });
  }

  override opaque(bytes: Uint8Array): void {
    this.#word('length', bytes.length);
    this.opaqueFixed(bytes);
  }

  override opaqueFromLatin1(bytes: string): void {
    this.opaque(Buffer.from(bytes, 'latin1'));
  }

  override opaqueByReference(bytes: Uint8Array): void {
    this.opaque(bytes);
  }

  /** The message as it is. */
  message(): Buffer {
    return Buffer.concat(this.fields.map(({ bytes }) => bytes));
  }
}

/** Where parsers go wrong. */
const EDGES = [
  0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 255, 256, 1024, 1025, 4096, 4097, 65535, 65536, 0x0010_0000,
  0x0040_0001, 0x3fff_ffff, 0x7fff_fffc, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_fffd, 0xffff_ffff,
];

/** A message made of `fields` with one to three things wrong with it. */
export function mutated(fields: readonly Field[], random: SeededRandom): Buffer {
  let parts = [...fields];
  for (let count = random.between(1, 3); count > 0; count--) parts = mutatedOnce(parts, random);
  const message = Buffer.concat(parts.map(({ bytes }) => bytes));
  switch (random.below(8)) {
    case 0:
      return message.subarray(0, random.below(message.length + 1));
    case 1:
      return Buffer.concat([message, random.bytes(random.between(1, 64))]);
    default:
      return message;
  }
}

function mutatedOnce(fields: readonly Field[], random: SeededRandom): Field[] {
  const parts = [...fields];
  if (parts.length === 0) return [{ kind: 'word', bytes: random.bytes(4) }];
  const at = random.below(parts.length);
  const field = parts[at] as Field;
  switch (random.below(9)) {
    case 0:
    case 1:
      parts[at] = flipped(field, random);
      break;
    case 2:
    case 3:
    case 4:
      parts[at] = { ...field, bytes: overwritten(field, random) };
      break;
    case 5:
      parts.splice(at, 1);
      break;
    case 6:
      parts.splice(at, 0, ...repeated(parts, at, random));
      break;
    case 7: {
      const other = random.below(parts.length);
      parts[at] = parts[other] as Field;
      parts[other] = field;
      break;
    }
    default:
      parts.splice(at, 0, { kind: 'bytes', bytes: random.bytes(random.between(1, 6) * 4) });
  }
  return parts;
}

function flipped(field: Field, random: SeededRandom): Field {
  if (field.bytes.length === 0) return field;
  const bytes = Buffer.from(field.bytes);
  for (let count = random.between(1, 4); count > 0; count--) {
    const at = random.below(bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  }
  return { ...field, bytes };
}

function overwritten({ kind, bytes }: Field, random: SeededRandom): Buffer {
  const word = Buffer.alloc(4);
  switch (kind) {
    case 'bool':
      word.writeUInt32BE(random.pick([0, 1, 2, 0xffff_ffff]));
      return word;
    case 'length': {
      const near = [-4, -3, -1, 1, 3, 4].map((change) => Math.max(0, bytes.readUInt32BE(0) + change));
      word.writeUInt32BE(random.pick([...near, ...EDGES]) >>> 0);
      return word;
    }
    case 'word':
      word.writeUInt32BE(random.oneIn(4) ? random.uint32() : random.pick(EDGES));
      return word;
    case 'hyper':
      return Buffer.concat(
        [0, 1].map(() => random.pick([0, 1, 0x1f_ffff, 0x20_0000, 0x7fff_ffff, 0xffff_ffff])).map(be),
      );
    case 'bytes':
      return random.bytes(bytes.length);
  }
}

function be(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A stretch of fields, once more or many times: lists grow. */
function repeated(parts: readonly Field[], at: number, random: SeededRandom): Field[] {
  const stretch = parts.slice(at, at + random.between(1, 12));
  const times = random.oneIn(10) ? random.between(10, 200) : 1;
  return Array.from({ length: times }, () => stretch).flat();
}
