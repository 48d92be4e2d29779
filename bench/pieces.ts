/**
 * A long measurement in pieces: what it has so far is kept beside the documents, so that one that was broken off can go on.
 * Owns that only rows of the same build, machine and options come together.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Report, RowResult } from './model.js';
import { UsageError } from './options.js';

const FILE = 'benchmark.partial.json';

/** All of a report that has to be the same in each piece. */
export type Terms = Readonly<Record<string, unknown>>;

interface Kept {
  readonly terms: Terms;
  readonly pieces: number;
  readonly seconds: number;
  readonly load: number;
  readonly rows: readonly RowResult[];
}

export class Pieces {
  readonly #folder: string | undefined;
  readonly #terms: Terms;
  readonly #before: Kept | undefined;
  readonly #begun = performance.now();
  readonly #load: number;
  #rows: readonly RowResult[];

  /**
   * Nothing is kept without `folder`. `goesOn`: takes up what the folder has. `load`: the load average at the start.
   * @throws UsageError if there is nothing to go on with, or it was measured otherwise
   */
  constructor(folder: string | undefined, goesOn: boolean, terms: Terms, load: number) {
    this.#folder = folder;
    this.#terms = JSON.parse(JSON.stringify(terms)) as Terms;
    this.#load = load;
    this.#before = goesOn && folder !== undefined ? this.#take(folder) : undefined;
    this.#rows = this.#before?.rows ?? [];
  }

  #take(folder: string): Kept {
    const path = join(folder, FILE);
    if (!existsSync(path)) throw new UsageError(`--continue: there is no ${path}; measure without it`);
    const kept = JSON.parse(readFileSync(path, 'utf8')) as Kept;
    for (const [name, value] of Object.entries(this.#terms))
      if (JSON.stringify(kept.terms[name]) !== JSON.stringify(value))
        throw new UsageError(`--continue: ${path} was measured with another ${name}; measure anew`);
    return kept;
  }

  /** The row, if it was measured before. */
  row(id: string): RowResult | undefined {
    return this.#rows.find((row) => row.id === id);
  }

  /** The row is measured, and is kept. */
  add(row: RowResult): void {
    this.#rows = [...this.#rows, row];
    if (this.#folder === undefined) return;
    mkdirSync(this.#folder, { recursive: true });
    const path = join(this.#folder, FILE);
    writeFileSync(`${path}.new`, JSON.stringify(this.#kept()));
    renameSync(`${path}.new`, path);
  }

  #kept(): Kept {
    return {
      terms: this.#terms,
      pieces: (this.#before?.pieces ?? 0) + 1,
      seconds: (this.#before?.seconds ?? 0) + (performance.now() - this.#begun) / 1000,
      load: Math.max(this.#load, this.#before?.load ?? 0),
      rows: this.#rows,
    };
  }

  /** All is measured: what only it can tell, and nothing is kept any longer. */
  end(): Pick<Report, 'seconds' | 'pieces'> & { readonly load: number } {
    if (this.#folder !== undefined) rmSync(join(this.#folder, FILE), { force: true });
    const { seconds, pieces, load } = this.#kept();
    return { seconds, load, ...(pieces > 1 ? { pieces } : {}) };
  }
}
