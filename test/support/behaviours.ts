/** A table of named POSIX behaviours, each shown in a folder of its own on every cell of the matrix. */
import type { Test } from 'tap';
import type { Agent } from './agent.js';
import { type Matrix, overVariants, type Variant } from './variants.js';

/** The tools of one behaviour: an agent whose current folder is new and empty. */
export interface Stage extends Variant {
  readonly fs: Agent;
  /** The agent's folder, relative to the mount and to the server's exported folder. */
  readonly folder: string;
}

export type Behaviour = (t: Test, stage: Stage) => Promise<void>;

/** Runs all behaviours on every cell of the matrix; one that fails does not keep the others from running. */
export function showBehaviours(t: Test, matrix: Matrix, table: Readonly<Record<string, Behaviour>>): void {
  overVariants(t, matrix, async (t, variant) => {
    for (const [index, [name, behaviour]] of Object.entries(table).entries()) {
      await t.test(name, async (t) => {
        const fs = await variant.mount.agent();
        const folder = `behaviour${index}`;
        await fs.mkdir(folder);
        await fs.chdir(folder);
        await fs.umask(0o022);
        try {
          await behaviour(t, { ...variant, fs, folder });
        } finally {
          await fs.close();
        }
      });
    }
  });
}
