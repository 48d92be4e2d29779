/**
 * Random work of several owners on two mounts of one server: every answer is that of marks on bytes, and after every step
 * the lock manager, both mounts and the marks agree on who holds what.
 */
import t from 'tap';
import { Errno, FuseError } from '../../../lib/fuse/contract/errno.js';
import type { LockRequest } from '../../../lib/fuse/contract/operations.js';
import { type Locks, type LocksOptions, LockType } from '../../../lib/vfs/locks/locks.js';
import {
  BYTES,
  ReferenceLocks,
  type ReferenceRequest,
  rangeOfBytes,
} from '../../locks/support/reference-locks.js';
import { seeds } from '../../model/seeds.js';
import { SeededRandom } from '../../support/seeded-random.js';
import { atTier } from '../../support/tier.js';
import { describeRange } from '../support/fake-lock-manager.js';
import { FIRST, interrupter, LockRig } from '../support/lock-rig.js';
import { settled } from '../support/rig.js';

const FILES = 2;
/** Of each mount: processes, and an open file with a flock(2) lock and OFD locks. */
const PROCESSES = 3;
const OWNERS = PROCESSES + 2;
const FLOCK = PROCESSES;
const OPEN_FILE = 70n;
const MOST_WAITING = 6;
const STEPS = 400;

interface Waiting extends ReferenceRequest {
  readonly interrupt: () => void;
  outcome: 'pending' | 'ok' | number;
}

const errnoOf = (error: unknown): number => {
  if (error instanceof FuseError) return error.errno;
  throw error;
};

class Model {
  readonly outcomes: Record<string, number> = {};
  readonly reference = new ReferenceLocks(FILES, 2 * OWNERS);
  readonly #mounts: readonly Locks[];
  /** By file: the descriptor of the processes, and that of the open file with locks of its own. */
  readonly #descriptors: readonly { readonly shared: number; readonly own: number }[];
  readonly #handles: readonly string[];
  /** Those whose end has been seen, in order. */
  readonly #ended: Waiting[] = [];

  private constructor(
    readonly rig: LockRig,
    descriptors: readonly { readonly shared: number; readonly own: number }[],
    private readonly random: SeededRandom,
    options: Partial<LocksOptions>,
  ) {
    this.#descriptors = descriptors;
    this.#handles = descriptors.map(({ shared }) => rig.files.get(shared).inode.handle);
    this.#mounts = [rig.locks, rig.mountLocks(options, FIRST + 1_000_000)];
  }

  /** In half of all runs the mounts stand in the queue of the server, in the others they only ask. */
  static async start(random: SeededRandom): Promise<Model> {
    const options = { hearsGrants: random.oneIn(2) };
    const rig = await LockRig.open({}, options);
    const descriptors = [];
    for (let file = 0; file < FILES; file++) {
      if (file > 0) rig.server.tree.file(`f${file}`, '');
      const path = file === 0 ? 'f' : `f${file}`;
      descriptors.push({ shared: (await rig.open(path, 2)).fh, own: (await rig.open(path, 2)).fh });
    }
    return new Model(rig, descriptors, random, options);
  }

  get #waiting(): readonly Waiting[] {
    return this.reference.waiting as readonly ReferenceRequest[] as readonly Waiting[];
  }

  async step(): Promise<void> {
    const { random } = this;
    const first = random.below(BYTES);
    const owner = random.below(2 * OWNERS);
    const whole = owner % OWNERS === FLOCK;
    const request = {
      file: random.below(FILES),
      owner,
      first: whole ? 0 : first,
      last: whole || random.oneIn(4) ? BYTES - 1 : random.between(first, Math.min(BYTES - 1, first + 4)),
      exclusive: random.oneIn(2),
    };
    const act = random.below(100);
    if (act < 35) await this.#set(request);
    else if (act < 60 && this.#waiting.length < MOST_WAITING) await this.#wait(request);
    else if (act < 75) await this.#unlock(request);
    else if (act < 84) await this.#test(request);
    else if (act < 89) await this.#close(request);
    else if (act < 93) await this.#release(request);
    else if (act < 99) this.#interrupt();
    else await this.#restart();
    await this.#settle();
    this.#compare();
  }

  // ---- acts

  async #set(request: ReferenceRequest): Promise<void> {
    const expected = this.reference.holdersAgainst(request).length === 0 ? 'ok' : Errno.EAGAIN;
    const answer = await this.#ask(request, false).then(() => 'ok' as const, errnoOf);
    this.#expect(`F_SETLK ${describe(request)}`, answer, expected);
    if (answer === 'ok') this.reference.set(request, request.exclusive ? 2 : 1);
    this.#count(answer === 'ok' ? 'granted' : 'refused');
  }

  async #wait(request: ReferenceRequest): Promise<void> {
    const cancellation = interrupter();
    const waiting: Waiting = { ...request, outcome: 'pending', interrupt: () => cancellation.cancel() };
    const end = (outcome: 'ok' | number): void => {
      waiting.outcome = outcome;
      this.#ended.push(waiting);
    };
    this.reference.waiting.push(waiting);
    this.#ask(request, true, cancellation).then(
      () => end('ok'),
      (error) => end(errnoOf(error)),
    );
    await settled();
    if (waiting.outcome === 'pending') this.#count('waiting');
  }

  async #unlock(request: ReferenceRequest): Promise<void> {
    const answer = await this.#ask(request, false, undefined, LockType.UNLOCK).then(
      () => 'ok' as const,
      errnoOf,
    );
    this.#expect(`unlock ${describe(request)}`, answer, 'ok');
    this.reference.set(request, 0);
  }

  async #test(request: ReferenceRequest): Promise<void> {
    const { reference } = this;
    const holders = reference.holdersAgainst(request);
    const [mount, file] = this.#at(request);
    const answer = await mount.test(file, this.#request(request));
    if (holders.length === 0) {
      this.#expect(`F_GETLK ${describe(request)}`, answer.type, LockType.UNLOCK);
      return;
    }
    const mine = holders.find((holder) => answer.pid === pidOf(holder));
    const here = holders.filter((holder) => mountOf(holder) === mountOf(request.owner));
    if (here.length > 0 && mine === undefined) throw new Error(`F_GETLK ${describe(request)} names nobody`);
    const found = (mine === undefined ? holders : [mine]).some((holder) =>
      reference
        .locksOf(request.file, holder)
        .some(
          ({ range, exclusive }) =>
            range.start === answer.start &&
            range.end === answer.end &&
            exclusive === (answer.type === LockType.WRITE),
        ),
    );
    if (!found) throw new Error(`F_GETLK ${describe(request)} names a lock that nobody has`);
    this.#count('found');
  }

  /** close(2) by a process. */
  async #close({ file, owner }: ReferenceRequest): Promise<void> {
    const process = owner - (owner % OWNERS) + (owner % PROCESSES);
    const [mount, open] = this.#at({ file, owner: process });
    if (mount.endsAtClose(open, ownerOf(process))) {
      await mount.closed(open, ownerOf(process));
      this.#count('closed');
    }
    this.reference.set({ file, owner: process, first: 0, last: BYTES - 1 }, 0);
  }

  /** The last close of the open file that has locks of its own. */
  async #release({ file, owner }: ReferenceRequest): Promise<void> {
    const first = owner - (owner % OWNERS);
    const [mount, open] = this.#at({ file, owner: first + FLOCK });
    await mount.released(open);
    for (const own of [first + FLOCK, first + FLOCK + 1])
      this.reference.set({ file, owner: own, first: 0, last: BYTES - 1 }, 0);
  }

  #interrupt(): void {
    if (this.#waiting.length === 0) return;
    this.random.pick(this.#waiting).interrupt();
    this.#count('interrupted');
  }

  async #restart(): Promise<void> {
    const { rig } = this;
    rig.manager.restart(true);
    for (const mount of this.#mounts) mount.restartSeen();
    await rig.pass(1_500);
    rig.manager.grace = false;
    await rig.pass(5_000);
    this.#count('restarts');
  }

  // ---- what must be

  /** Lets everybody who waits ask again, and takes note of those that got their locks. */
  async #settle(): Promise<void> {
    // One that ends lets others go on.
    for (let [before, rounds] = [-1, 0]; rounds < 2 || before < this.#ended.length; rounds++) {
      before = this.#ended.length;
      await this.rig.pass(1_000);
    }
    const { reference } = this;
    const ended = this.#ended.splice(0);
    const deadlocks = ended.filter(({ outcome }) => outcome === Errno.EDEADLK);
    const justified = new Set(deadlocks.filter((waiting) => reference.wouldDeadlock(waiting)));
    // Those that the server granted a lock need not learn of it in that order.
    const left = new Set(ended);
    const next = (): Waiting | undefined =>
      [...left].find((one) => one.outcome !== 'ok' || reference.holdersAgainst(one).length === 0);
    for (let waiting = next(); waiting !== undefined; waiting = next()) {
      left.delete(waiting);
      this.#end(waiting);
    }
    for (const waiting of left) throw new Error(`${describe(waiting)} was granted, and somebody else has it`);
    // The server may have granted a lock before it refused another one.
    for (const waiting of deadlocks)
      if (!justified.has(waiting) && !reference.wouldDeadlock(waiting))
        throw new Error(`${describe(waiting)} is no deadlock`);
    // Those that nothing held stands against may let others go first, which wait for what is held.
    const rightly = new Set(this.#waiting.filter((waiting) => reference.holdersAgainst(waiting).length > 0));
    for (const blocked of rightly)
      for (const other of this.#waiting) if (conflict(blocked, other)) rightly.add(other);
    const wrongly = this.#waiting.find((waiting) => !rightly.has(waiting));
    if (wrongly !== undefined) throw new Error(`${describe(wrongly)} could have been granted`);
  }

  #end(waiting: Waiting): void {
    const { reference } = this;
    const { outcome } = waiting;
    reference.waiting = reference.waiting.filter((other) => other !== waiting);
    if (outcome === 'ok') {
      reference.set(waiting, waiting.exclusive ? 2 : 1);
      this.#count('granted later');
    } else if (outcome === Errno.EDEADLK) this.#count('deadlock');
    else this.#expect(`the wait for ${describe(waiting)}`, outcome, Errno.EINTR);
  }

  #compare(): void {
    const { reference, rig } = this;
    for (let file = 0; file < FILES; file++) {
      const expected: string[] = [];
      for (let owner = 0; owner < 2 * OWNERS; owner++) {
        const locks = reference
          .locksOf(file, owner)
          .map(({ range, exclusive }) => describeRange({ ...range, exclusive }));
        if (locks.length > 0) expected.push(locks.join());
        const mount = this.#mounts[mountOf(owner)];
        const path = file === 0 ? '/f' : `/f${file}`;
        const held = mount?.held().find((one) => one.path === path && one.pid === pidOf(owner));
        this.#expect(`owner ${owner} of ${path}`, held?.locks.map(describeRange).join() ?? '', locks.join());
      }
      this.#expect(
        'the server',
        rig.manager.byOwner(this.#handles[file] ?? '').join(' '),
        expected.sort().join(' '),
      );
    }
  }

  /** Ends everything: nothing may be left. */
  async drain(): Promise<void> {
    for (const waiting of this.#waiting) waiting.interrupt();
    await this.#settle();
    for (let owner = 0; owner < 2 * OWNERS; owner++)
      for (let file = 0; file < FILES; file++)
        await this.#unlock({ file, owner, first: 0, last: BYTES - 1, exclusive: true });
    await this.rig.pass(5_000);
    this.#compare();
    const { held, waiting } = this.rig.manager.table.size;
    this.#expect('what is left', `${held} ${waiting} ${this.rig.journal.lines.join()}`, '0 0 ');
  }

  // ---- ways

  #at({ file, owner }: Pick<ReferenceRequest, 'file' | 'owner'>) {
    const mount = this.#mounts[mountOf(owner)];
    const descriptors = this.#descriptors[file];
    if (mount === undefined || descriptors === undefined) throw new RangeError(`no owner ${owner}`);
    const fh = owner % OWNERS < PROCESSES ? descriptors.shared : descriptors.own;
    return [mount, this.rig.files.get(fh)] as const;
  }

  #request({ file, owner, first, last, exclusive }: ReferenceRequest, type?: number): LockRequest {
    return {
      fh: 0,
      owner: ownerOf(owner),
      flock: owner % OWNERS === FLOCK,
      lock: {
        ...rangeOfBytes(file, first, last),
        type: type ?? (exclusive ? LockType.WRITE : LockType.READ),
        pid: type === LockType.UNLOCK ? 0 : pidOf(owner),
      },
    };
  }

  #ask(request: ReferenceRequest, wait: boolean, cancellation = interrupter(), type?: number): Promise<void> {
    const [mount, file] = this.#at(request);
    return mount.set(file, this.#request(request, type), wait, cancellation);
  }

  #expect(what: string, is: string | number, expected: string | number): void {
    if (is !== expected) throw new Error(`${what}: ${is} instead of ${expected}`);
  }

  #count(outcome: string): void {
    this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + 1;
  }
}

const mountOf = (owner: number): number => Math.floor(owner / OWNERS);
const pidOf = (owner: number): number => 100 + owner;
/** The number that the kernel gives: a flock(2) lock and the OFD locks of an open file have the same. */
const ownerOf = (owner: number): bigint => (owner % OWNERS < PROCESSES ? BigInt(1 + owner) : OPEN_FILE);

function conflict(one: ReferenceRequest, other: ReferenceRequest): boolean {
  return (
    one.file === other.file &&
    one.owner !== other.owner &&
    (one.exclusive || other.exclusive) &&
    one.first <= other.last &&
    other.first <= one.last
  );
}

function describe({ file, owner, first, last, exclusive }: ReferenceRequest): string {
  return `file ${file} owner ${owner} ${first}-${last} ${exclusive ? 'exclusive' : 'shared'}`;
}

t.test('two mounts and their server do what marks on bytes do', { timeout: 600_000 }, async (t) => {
  const outcomes: Record<string, number> = {};
  for (const seed of seeds(atTier({ fast: 8, all: 40 }))) {
    const model = await Model.start(new SeededRandom(seed));
    let step = 0;
    try {
      for (; step < STEPS; step++) await model.step();
      await model.drain();
    } catch (error) {
      t.fail(`seed ${seed} step ${step}: ${error instanceof Error ? error.stack : String(error)}`);
      return;
    }
    for (const [name, count] of Object.entries(model.outcomes))
      outcomes[name] = (outcomes[name] ?? 0) + count;
  }
  t.comment(JSON.stringify(outcomes));
  const kinds = [
    'granted',
    'refused',
    'waiting',
    'granted later',
    'interrupted',
    'deadlock',
    'found',
    'closed',
    'restarts',
  ];
  for (const name of kinds) t.ok((outcomes[name] ?? 0) > 0, `${name}: ${outcomes[name]}`);
});
