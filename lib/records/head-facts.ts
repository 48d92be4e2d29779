/** The facts in the head of the file: one JSON text, written twice, in turns, so that one of them is always whole. */
import { checksum } from './checksum.js';
import { RecordsError } from './records-error.js';
import type { MappedPiece } from './shared-file.js';

const PLACES = [4 * 1024, 32 * 1024] as const;
const HEADER = 16;
const MOST_BYTES = 28 * 1024 - HEADER;

interface Found {
  readonly sequence: number;
  readonly text: string;
}

export class HeadFacts {
  /** They lie between these bytes of the head. */
  static readonly BEGIN = PLACES[0];
  static readonly END = 60 * 1024;
  readonly #head: MappedPiece;
  #sequence = 0;
  #value: unknown = undefined;

  constructor(head: MappedPiece) {
    this.#head = head;
  }

  /** As JSON keeps them. Undefined: none yet. */
  get value(): unknown {
    return this.#value;
  }

  /** @throws RangeError for too many bytes */
  set(facts: object): void {
    const text = Buffer.from(JSON.stringify(facts));
    if (text.length > MOST_BYTES) throw new RangeError(`${text.length} bytes of facts`);
    const { bytes, u32, i32 } = this.#head;
    const sequence = ++this.#sequence;
    const at = PLACES[sequence % 2 === 0 ? 0 : 1];
    u32[at >>> 2] = 0;
    if (text.length % 4 !== 0) u32[(at + HEADER + text.length) >>> 2] = 0;
    bytes.set(text, at + HEADER);
    u32[(at >>> 2) + 1] = text.length;
    u32[(at >>> 2) + 2] = checksum(i32, (at + HEADER) >>> 2, (text.length + 3) >>> 2, sequence);
    u32[at >>> 2] = sequence;
    this.#value = JSON.parse(text.toString());
  }

  /** Takes up those that another process has written. @throws RecordsError */
  adopt(): void {
    const [one, other] = PLACES.map((at) => this.#foundAt(at));
    const found = (one?.sequence ?? 0) > (other?.sequence ?? 0) ? one : other;
    if (found === undefined) throw new RecordsError('damaged', 'the head of the state is damaged');
    this.#sequence = found.sequence;
    this.#value = JSON.parse(found.text);
  }

  #foundAt(at: number): Found | undefined {
    const { bytes, u32, i32 } = this.#head;
    const sequence = u32[at >>> 2] ?? 0;
    const length = u32[(at >>> 2) + 1] ?? 0;
    if (sequence === 0 || length > MOST_BYTES) return undefined;
    const start = at + HEADER;
    if (u32[(at >>> 2) + 2] !== checksum(i32, start >>> 2, (length + 3) >>> 2, sequence)) return undefined;
    return { sequence, text: bytes.toString('utf8', start, start + length) };
  }
}
