/**
 * The workload of several workers on one mount: private folders, a folder that all of them change at once, a file
 * in which each writes its own slots, and one to which all append. Compared with the reference after every
 * operation, and as a whole at the end, through the mount and on the server's disk.
 */
import { constants, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { Agent } from '../support/agent.js';
import { SeededRandom } from '../support/seeded-random.js';
import type { WorkFolder } from '../support/variants.js';
import { ModelDirectory, ModelFile, type ModelNode } from './reference-tree.js';
import { type Area, compareBytes, Difference, Worker } from './worker.js';

export interface WorkloadOptions {
  readonly seed: number;
  readonly workers?: number;
  /** Operations of each worker. */
  readonly operations?: number;
  /** Called after every operation, with how many there have been; not waited for. */
  readonly onProgress?: (done: number) => void;
}

/** Slots are smaller than a page, so that workers share pages. */
const SLOT = 1500;
const SLOTS = 60;
/** A worker does one in this many operations on the shared files. */
const SHARED_EVERY = 5;

export class Workload {
  readonly #mount: WorkFolder;
  readonly #options: Required<Omit<WorkloadOptions, 'onProgress'>>;
  readonly #onProgress: (done: number) => void;
  readonly #root = new ModelDirectory();
  readonly #slots = new ModelFile();
  readonly #appended: string[][] = [];
  #workers: Worker[] = [];
  #done = 0;

  constructor(mount: WorkFolder, options: WorkloadOptions) {
    const { onProgress = () => undefined, ...rest } = options;
    this.#mount = mount;
    this.#onProgress = onProgress;
    this.#options = { workers: 4, operations: 150, ...rest };
  }

  /** Runs to the end and compares. Rejects with a Difference; see {@link histories}. */
  async run(): Promise<void> {
    const { workers, seed } = this.#options;
    try {
      const first = await this.#mount.agent();
      await this.#prepare(first);
      const agents: Agent[] = [];
      // One after the other: each copies its program to the same place.
      for (let number = 0; number < workers; number++) agents.push(await this.#mount.agent());
      const running = agents.map((agent, number) => this.#work(agent, number));
      // All workers end before anything is reported: none may go on while the mount is taken away.
      const results = await Promise.allSettled(running);
      for (const result of results) if (result.status === 'rejected') throw result.reason;
      await this.#compareThroughMount(first);
    } catch (error) {
      throw new Difference(`seed ${seed}: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** The last operations of every worker, for the report. */
  get histories(): string {
    return this.#workers
      .map(({ number, done, history }) => `worker ${number}, ${done} operations:\n  ${history.join('\n  ')}`)
      .join('\n');
  }

  async #prepare(agent: Agent): Promise<void> {
    await agent.mkdir('shared');
    this.#root.entries.set('shared', new ModelDirectory());
    await agent.writeFile('slots', Buffer.alloc(SLOT * SLOTS));
    this.#slots.data = Buffer.alloc(SLOT * SLOTS);
    this.#slots.names = 1;
    this.#root.entries.set('slots', this.#slots);
    await agent.writeFile('appended', '');
  }

  async #work(agent: Agent, number: number): Promise<void> {
    const shared = this.#root.entries.get('shared');
    if (shared?.kind !== 'directory') throw new Error('there is no shared folder');
    const own = new ModelDirectory();
    const areas: Area[] = [
      { path: `own${number}`, directory: own, prefix: '' },
      { path: `own${number}`, directory: own, prefix: '' },
      { path: 'shared', directory: shared, prefix: `w${number}-` },
    ];
    await agent.mkdir(`own${number}`);
    this.#root.entries.set(`own${number}`, own);
    const { seed, operations } = this.#options;
    const worker = new Worker(agent, seed, number, areas);
    this.#workers.push(worker);
    const random = new SeededRandom(seed, number, 1);
    const files = {
      slots: await agent.open('slots', constants.O_RDWR),
      log: await agent.open('appended', constants.O_WRONLY | constants.O_APPEND),
    };
    const lines: string[] = [];
    this.#appended[number] = lines;
    for (let index = 0; index < operations; index++) {
      if (index % SHARED_EVERY === 0) await this.#share(agent, number, random, files, lines);
      await worker.step();
      this.#done += 1;
      this.#onProgress(this.#done);
    }
    await agent.closeFd(files.slots);
    await agent.closeFd(files.log);
    await worker.finish();
  }

  /** On the shared files every worker has its own slots and lines, which the others leave alone. */
  async #share(
    agent: Agent,
    number: number,
    random: SeededRandom,
    files: { readonly slots: number; readonly log: number },
    lines: string[],
  ): Promise<void> {
    const { workers } = this.#options;
    const slot = number + workers * random.below(Math.floor(SLOTS / workers));
    const model = this.#slots.data.subarray(slot * SLOT, (slot + 1) * SLOT);
    if (random.oneIn(2)) {
      const what = `worker ${number} reads slot ${slot}`;
      compareBytes(what, await agent.pread(files.slots, SLOT, slot * SLOT), model);
    } else {
      const text = `[${number}.${slot}.${random.below(1000)}]`;
      const data = Buffer.from(text.repeat(SLOT / text.length + 1).slice(0, random.between(1, SLOT)));
      const at = random.below(SLOT - data.length + 1);
      await agent.pwrite(files.slots, data, slot * SLOT + at);
      data.copy(model, at);
    }
    const line = `${number} ${lines.length} ${'x'.repeat(random.below(60))}\n`;
    lines.push(line);
    await agent.write(files.log, line);
    if (random.oneIn(8)) await agent.fsync(files.log);
  }

  // ---- the end

  #compareAppended(content: Buffer): void {
    const found: string[][] = this.#appended.map(() => []);
    for (const line of content.toString('latin1').split(/(?<=\n)/)) {
      found[Number(line.split(' ')[0])]?.push(line);
      if (!/^\d+ \d+ x*\n$/.test(line)) throw new Difference(`appended has a line ${JSON.stringify(line)}`);
    }
    this.#appended.forEach((lines, number) => {
      const what = `the lines that worker ${number} appended`;
      compareBytes(what, Buffer.from((found[number] ?? []).join('')), Buffer.from(lines.join('')));
    });
  }

  async #compareThroughMount(agent: Agent): Promise<void> {
    const compare = async (path: string, node: ModelNode): Promise<void> => {
      if (node.kind === 'link') {
        const target = (await agent.readlink(path)).toString();
        if (target !== node.target) throw new Difference(`${path} leads to ${target}, not ${node.target}`);
      } else if (node.kind === 'file') {
        compareBytes(path, await agent.readFile(path), node.data);
        const { nlink } = await agent.lstat(path);
        if (nlink !== node.names) throw new Difference(`${path} has ${nlink} links, not ${node.names}`);
      } else {
        compareNames(path, (await agent.list(path)).map(String), node, path === '.' ? ['appended'] : []);
        for (const [name, below] of node.entries)
          await compare(path === '.' ? name : `${path}/${name}`, below);
      }
    };
    await compare('.', this.#root);
    this.#compareAppended(await agent.readFile('appended'));
  }

  /** Compares with the folder that was exported, once the mount is gone. Throws Difference. */
  compareOnDisk(folder: string): void {
    const compare = (path: string, node: ModelNode): void => {
      const full = join(folder, path);
      if (node.kind === 'link') {
        if (readlinkSync(full) !== node.target)
          throw new Difference(`${path} does not lead to ${node.target}`);
      } else if (node.kind === 'file') {
        compareBytes(`${path} on disk`, readFileSync(full), node.data);
        const { nlink } = lstatSync(full);
        if (nlink !== node.names)
          throw new Difference(`${path} has ${nlink} links on disk, not ${node.names}`);
      } else {
        compareNames(`${path} on disk`, readdirSync(full), node, path === '' ? ['appended'] : []);
        for (const [name, below] of node.entries) compare(join(path, name), below);
      }
    };
    try {
      compare('', this.#root);
      this.#compareAppended(readFileSync(join(folder, 'appended')));
    } catch (error) {
      throw new Difference(`seed ${this.#options.seed}: ${error instanceof Error ? error.message : error}`);
    }
  }
}

function compareNames(path: string, names: string[], node: ModelDirectory, more: readonly string[]): void {
  const [has, should] = [names.sort().join(' '), [...node.entries.keys(), ...more].sort().join(' ')];
  if (has !== should) throw new Difference(`${path} has "${has}", and should have "${should}"`);
}
