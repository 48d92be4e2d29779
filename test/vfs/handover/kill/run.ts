/** One run: programs on a mount whose processes die until so many have. Owns what must hold in the end. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FileType } from '../../../../lib/programs/nfs3/index.js';
import { RecordKind } from '../../../../lib/vfs/handover/record-text.js';
import type { FakeNode } from '../../support/fake-tree.js';
import { BusyProgram } from './busy-program.js';
import { Chance } from './chance.js';
import { Kernel } from './kernel.js';
import { World } from './mortal-process.js';
import type { Shared } from './program.js';
import { lostWith, type ProgramDirectory, type ProgramFile, type ProgramObject } from './program-files.js';

const PROGRAMS = 4;
const STEPS = 60;
/** Steps without any but those of the clock, after which nobody believes in an end. */
const MOST_IDLE = 2_000;

/** @throws Error for whatever is not as it must be. Answers how many processes have died. */
export async function run(seed: number): Promise<number> {
  const chance = new Chance(seed);
  const world = new World(chance);
  const { tree } = world.server;
  tree.directory('shared', 0o777);
  tree.file('shared/log');
  for (const name of ['locked', 'flocked']) tree.file(`shared/${name}`, '00000000');
  for (let at = 0; at < PROGRAMS; at++) tree.directory(`t${at}`, 0o777);
  const shared: Shared = { files: new Set(), lines: [], count: 0, holders: new Map(), pinned: new Map() };
  const often = 5 + chance.below(150);
  let areOver = false;
  // Some die while they take up what the one before has left, and some live long enough to get on.
  const life = (): number => {
    if (areOver) return Number.POSITIVE_INFINITY;
    return chance.below(chance.often(0.2) ? 10 : chance.often(0.2) ? 1_000 : often);
  };
  const kernel = new Kernel(world, life, (deaths) => {
    lostWith(deaths, shared.files);
    if (chance.often(0.1)) world.server.restart();
  });
  const programs = Array.from(
    { length: PROGRAMS },
    (_, at) => new BusyProgram(world, kernel, `t${at}`, shared),
  );
  const working = Promise.all(programs.map((program) => program.run(STEPS)));
  await drive(world, kernel, working, () => programs.map(({ doing }) => doing).join('; '));
  areOver = true;
  kernel.process.liveOn();
  const rest = settle(world, kernel);
  await drive(world, kernel, rest, () => 'the end');
  for (const program of programs)
    compare(program.root, tree.at(nameOf(programs.indexOf(program))), nameOf(programs.indexOf(program)));
  const log = String(tree.at('shared/log').data)
    .split(/(?<=\n)/)
    .filter((line) => line !== '');
  same(log.sort(), shared.lines.sort(), 'the log');
  const count =
    Number(String(tree.at('shared/locked').data)) + Number(String(tree.at('shared/flocked').data));
  if (count !== shared.count) throw new Error(`the counters are at ${count} instead of ${shared.count}`);
  nothingIsLeft(world, kernel);
  return kernel.deaths;
}

const nameOf = (at: number): string => `t${at}`;

/** Lets things happen until `working` has ended. */
async function drive(
  world: World,
  kernel: Kernel,
  working: Promise<unknown>,
  doing: () => string,
): Promise<void> {
  let isOver = false;
  let failure: unknown;
  working.then(
    () => (isOver = true),
    (error: unknown) => {
      isOver = true;
      failure = error;
    },
  );
  for (let idle = 0; ; ) {
    await nextTurn();
    kernel.check();
    if (isOver) break;
    if (world.steps.take()) {
      idle = 0;
      if (world.chance.often(0.005)) advance(world, kernel, 20);
      continue;
    }
    if (++idle > MOST_IDLE) throw new Error(`it hangs: ${doing()}, ${kernel.waiting} requests wait`);
    advance(world, kernel, kernel.process.clock.next ?? 100);
  }
  if (failure !== undefined) throw failure;
}

/** The server's clock goes on as well. */
function advance({ server: { tree } }: World, { process }: Kernel, milliseconds: number): void {
  const nanoseconds = tree.nanoseconds + milliseconds * 1e6;
  tree.seconds += Math.floor(nanoseconds / 1e9);
  tree.nanoseconds = nanoseconds % 1e9;
  process.clock.advance(milliseconds);
}

/** Work that goes on after the last answer has ended. */
async function settle(world: World, kernel: Kernel): Promise<void> {
  for (let quiet = 0; quiet < 20; quiet++) {
    await nextTurn();
    if (world.steps.size > 0 || !kernel.process.serving) quiet = 0;
  }
}

function same(one: readonly string[], other: readonly string[], what: string): void {
  if (one.join('\0') !== other.join('\0')) throw new Error(`${what} is ${one} instead of ${other}`);
}

function compare(
  wanted: ProgramObject,
  { type, children, data, stable, target, mode, mtime }: FakeNode,
  path: string,
): void {
  if (wanted.kind === 'symlink') {
    if (type !== FileType.LNK || String(target) !== wanted.target) throw new Error(`${path} is another link`);
  } else if (wanted.kind === 'file') {
    if (!data.equals(wanted.bytes)) throw new Error(`${path} has other content`);
    if (!stable.equals(wanted.bytes)) throw new Error(`${path} is not on stable storage`);
    const { mode: wantedMode = mode, mtime: wantedTime = mtime.seconds } = wanted as ProgramFile;
    if (mode !== wantedMode) throw new Error(`${path} has another mode`);
    if (mtime.seconds !== wantedTime) throw new Error(`${path} has another time`);
  } else {
    if (type !== FileType.DIR) throw new Error(`${path} is no directory`);
    same([...children.keys()].sort(), [...(wanted as ProgramDirectory).entries.keys()].sort(), path);
    for (const [name, object] of wanted.entries) {
      const child = children.get(name);
      if (child !== undefined) compare(object, child, `${path}/${name}`);
    }
  }
}

/** Nothing is open, locked or recorded any more. */
function nothingIsLeft({ manager }: World, { process: { fs, memory } }: Kernel): void {
  if (fs.openFileCount > 0) throw new Error(`${fs.openFileCount} files are open that nobody will close`);
  same(manager.held, [], 'what is locked');
  const left = new Map<number, number>();
  for (const { kind } of memory.records()) left.set(kind, (left.get(kind) ?? 0) + 1);
  const may: readonly number[] = [RecordKind.COUNTERS, RecordKind.INODE, RecordKind.REQUEST];
  for (const [kind, count] of left)
    if (!may.includes(kind)) throw new Error(`${count} records of kind ${kind} are left`);
}
