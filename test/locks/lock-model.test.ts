/** Random work of several owners on several files, compared with marks on bytes after every step. */
import t from 'tap';
import { type LockOwner, LockTable, type OwnedLock } from '../../lib/locks/index.js';
import { seeds } from '../model/seeds.js';
import { SeededRandom } from '../support/seeded-random.js';
import { BYTES, ReferenceLocks, type ReferenceRequest, rangeOfBytes } from './support/reference-locks.js';

const OWNERS = 6;
const FILES = 3;
const STEPS = 3000;

class Model {
  readonly table = new LockTable<LockOwner>();
  readonly reference = new ReferenceLocks(FILES, OWNERS);
  readonly outcomes: Record<string, number> = {};
  readonly #owners = [...Array(OWNERS).keys()].map((n) => ({ key: `owner ${n}`, group: `group ${n % 2}` }));

  constructor(private readonly random: SeededRandom) {}

  owner(n: number): LockOwner {
    const owner = this.#owners[n];
    if (owner === undefined) throw new RangeError(`no owner ${n}`);
    return owner;
  }

  lockOf({ file, owner, first, last, exclusive }: ReferenceRequest): OwnedLock<LockOwner> {
    return { owner: this.owner(owner), exclusive, ...rangeOfBytes(file, first, last) };
  }

  /** The callback of a request that waits: it must be its turn. */
  #granted(request: ReferenceRequest): void {
    this.#count('granted later');
    if (!this.reference.isFree(request)) throw new Error(`${describe(request)} was granted out of turn`);
    this.#leave(request);
    this.reference.set(request, request.exclusive ? 2 : 1);
  }

  #leave(request: ReferenceRequest): void {
    this.reference.waiting = this.reference.waiting.filter((other) => other !== request);
  }

  #count(outcome: string): void {
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
  }

  #sameWaiting(request: ReferenceRequest): ReferenceRequest | undefined {
    return this.reference.waiting.find((other) => describe(other) === describe(request));
  }

  step(): void {
    const { random, reference, table } = this;
    const first = random.below(BYTES);
    const request = {
      file: random.below(FILES),
      owner: random.below(OWNERS),
      first,
      last: random.oneIn(4) ? BYTES - 1 : random.between(first, Math.min(BYTES - 1, first + 4)),
      exclusive: random.oneIn(2),
    };
    const file = `file ${request.file}`;
    const lock = this.lockOf(request);
    const act = random.below(10);
    if (act < 3) this.#lock(file, lock, request, false);
    else if (act < 6) this.#lock(file, lock, request, true);
    else if (act < 7) {
      // Mostly one that waits, as a client polls it, or gives it up.
      const known =
        random.oneIn(4) || reference.waiting.length === 0 ? request : random.pick(reference.waiting);
      if (random.oneIn(2)) this.#lock(`file ${known.file}`, this.lockOf(known), { ...known }, true);
      else this.#cancel(known);
    } else if (act < 8 && random.oneIn(4)) {
      for (const other of reference.waiting) {
        const within = other.first >= request.first && other.last <= request.last;
        if (other.file === request.file && other.owner === request.owner && within) this.#leave(other);
      }
      table.abandon(file, lock.owner, lock);
    } else {
      reference.set(request, 0);
      if (!table.unlock(file, lock.owner, lock)) throw new Error('an unlock was refused');
    }
    this.#compare();
  }

  #cancel(request: ReferenceRequest): void {
    const known = this.#sameWaiting(request);
    if (known !== undefined) this.#leave(known);
    const found = this.table.cancel(`file ${request.file}`, this.lockOf(request));
    if (found !== (known !== undefined)) throw new Error(`cancel of ${describe(request)} says ${found}`);
    this.#count('cancel');
  }

  #lock(file: string, lock: OwnedLock<LockOwner>, request: ReferenceRequest, waits: boolean): void {
    const { reference, table } = this;
    const known = this.#sameWaiting(request);
    const against = reference.holdersAgainst(request).map((owner) => this.owner(owner).key);
    const first = table.test(file, lock);
    if ((first === undefined) !== (against.length === 0)) throw new Error('test and reference differ');
    if (first !== undefined && !against.includes(first.owner.key))
      throw new Error(`${first.owner.key} holds nothing`);
    const expected = waits
      ? reference.isFree(request)
        ? 'granted'
        : known !== undefined
          ? 'waiting'
          : reference.wouldDeadlock(request)
            ? 'deadlock'
            : 'waiting'
      : against.length === 0
        ? 'granted'
        : 'denied';
    const mine = known ?? request;
    if (expected === 'waiting' && known === undefined) reference.waiting.push(request);
    if (expected === 'granted') {
      if (known !== undefined) this.#leave(known);
      reference.set(request, request.exclusive ? 2 : 1);
    }
    const outcome = table.lock(file, lock, waits ? () => this.#granted(mine) : undefined);
    if (outcome !== expected) throw new Error(`${describe(request)}: ${outcome} instead of ${expected}`);
    this.#count(outcome);
  }

  #compare(): void {
    const { reference, table } = this;
    let held = 0;
    for (let file = 0; file < FILES; file++) {
      for (let owner = 0; owner < OWNERS; owner++) {
        const expected = reference.locksOf(file, owner);
        const locks = table.heldBy(`file ${file}`, this.owner(owner));
        held += locks.length;
        const differs = (lock: OwnedLock<LockOwner>, i: number): boolean =>
          lock.start !== expected[i]?.range.start ||
          lock.end !== expected[i]?.range.end ||
          lock.exclusive !== expected[i]?.exclusive;
        if (locks.length !== expected.length || locks.some(differs))
          throw new Error(`owner ${owner} differs`);
      }
    }
    const { size } = table;
    if (size.held !== held || size.waiting !== reference.waiting.length) throw new Error('counts differ');
    const ready = reference.waiting.find((request) => reference.isFree(request));
    if (ready !== undefined) throw new Error(`${describe(ready)} could have been granted`);
  }

  /** Ends everything: the table must be empty then. */
  drain(): void {
    for (const request of [...this.reference.waiting]) this.#cancel(request);
    for (let file = 0; file < FILES; file++) {
      for (let owner = 0; owner < OWNERS; owner++) {
        this.reference.set({ file, owner, first: 0, last: BYTES - 1 }, 0);
        this.table.unlock(`file ${file}`, this.owner(owner), rangeOfBytes(0, 0, BYTES - 1));
      }
    }
    this.#compare();
  }
}

function describe({ file, owner, first, last, exclusive }: ReferenceRequest): string {
  return `file ${file} owner ${owner} ${first}-${last} ${exclusive ? 'exclusive' : 'shared'}`;
}

t.test('the table does what marks on bytes do, step by step', async (t) => {
  const outcomes: Record<string, number> = {};
  for (const seed of seeds(20)) {
    const model = new Model(new SeededRandom(seed));
    let step = 0;
    try {
      for (; step < STEPS; step++) model.step();
      model.drain();
    } catch (error) {
      t.fail(`seed ${seed} step ${step}: ${String(error)}`);
      return;
    }
    t.same(
      [...Array(FILES).keys()].filter((file) => model.table.has(`file ${file}`)),
      [],
      `seed ${seed}: empty`,
    );
    for (const [name, count] of Object.entries(model.outcomes))
      outcomes[name] = (outcomes[name] ?? 0) + count;
  }
  t.comment(JSON.stringify(outcomes));
  for (const name of ['granted', 'denied', 'waiting', 'deadlock', 'granted later', 'cancel']) {
    t.ok((outcomes[name] ?? 0) > 500, `${name}: ${outcomes[name]}`);
  }
});
