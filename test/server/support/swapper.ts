/** A thread that makes a name a directory and a symbolic link by turns, as fast as it can, until told to stop. */
import { Worker } from 'node:worker_threads';

const SOURCE = `
  const { workerData, parentPort } = require('node:worker_threads');
  const { renameSync } = require('node:fs');
  const { directory, link, name, stop } = workerData;
  const flag = new Int32Array(stop);
  let turns = 0;
  while (Atomics.load(flag, 0) === 0) {
    renameSync(name, directory);
    renameSync(link, name);
    renameSync(name, link);
    renameSync(directory, name);
    turns++;
  }
  parentPort.postMessage(turns);
`;

export class Swapper {
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  readonly #ended: Promise<number>;

  /** Starts with `name` a directory, `link` the symbolic link, and `directory` a free name. */
  constructor(paths: { readonly name: string; readonly link: string; readonly directory: string }) {
    const worker = new Worker(SOURCE, { eval: true, workerData: { ...paths, stop: this.#stop.buffer } });
    this.#ended = new Promise((resolve, reject) => {
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  }

  /** How often it changed; the name is a directory again. */
  stop(): Promise<number> {
    Atomics.store(this.#stop, 0, 1);
    return this.#ended;
  }
}
