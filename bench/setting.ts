/** The ground of every measurement: the load program, the disk, nfs-ganesha with its store. Also ends it all. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder } from '../test/support/folders.js';
import { Ganesha } from '../test/support/ganesha.js';
import { openPlace, type Place, type PlaceName } from '../test/support/places.js';
import { removeStaged } from '../test/support/stage.js';
import { type BenchDisk, openDisk } from './disk.js';
import { compileLoad } from './load.js';
import { isAlone } from './machine.js';
import type { Row, Store } from './model.js';
import { type DiskKind, UsageError } from './options.js';
import type { Sizes } from './rows/sizes.js';
import { makeStore } from './store.js';

/** One line that is written over again, on a terminal; nothing otherwise. */
export function progress(what: string): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\r\x1b[K${what.slice(0, (process.stderr.columns || 80) - 1)}`);
}

export function note(what: string): void {
  progress('');
  process.stderr.write(`bench: ${what}\n`);
}

/** The rows whose ids begin with one of `wanted`; all by default. */
export function chooseRows(rows: readonly Row[], wanted: readonly string[] | undefined): Row[] {
  if (wanted === undefined) return [...rows];
  const ids = rows.map(({ id }) => id);
  const unknown = wanted.find((name) => !ids.some((id) => id.startsWith(name)));
  if (unknown !== undefined) throw new UsageError(`no row ${unknown}: there are ${ids.join(', ')}`);
  return rows.filter(({ id }) => wanted.some((name) => id.startsWith(name)));
}

export interface Setting {
  readonly load: string;
  readonly disk: BenchDisk;
  readonly server: Ganesha;
  /** The server's. */
  readonly store: Store;
  place(name: PlaceName): Promise<Place>;
  /** Has something ended with the setting, before what was there when it came. */
  endWith(end: () => Promise<void>): void;
}

/** Makes a setting, and ends it when `use` has ended, however that comes about. */
export async function withSetting<T>(
  sizes: Sizes,
  kind: DiskKind,
  use: (setting: Setting) => Promise<T>,
): Promise<T> {
  const ending: (() => Promise<void>)[] = [];
  const endWith = (end: () => Promise<void>) => void ending.unshift(end);
  try {
    progress('starting servers');
    const tools = publicFolder();
    endWith(() => tools.remove());
    endWith(removeStaged);
    const load = await compileLoad(tools.path);
    const disk = await openDisk({ bytes: sizes.diskBytes, load, folder: kind === 'folder', note });
    endWith(() => disk.close());
    const directory = join(disk.path, 'export');
    mkdirSync(directory);
    // In a network namespace of its own, as npm run bench makes one, other addresses are the guests' only.
    const server = await Ganesha.start({ directory, everywhere: isAlone() });
    endWith(() => server.close());
    const place = async (name: PlaceName) => {
      const opened = await openPlace(name);
      endWith(() => opened.close());
      return opened;
    };
    const store = await makeStore(directory, load, sizes.primeFiles);
    return await use({ load, disk, server, store, place, endWith });
  } finally {
    progress('');
    const failed: unknown[] = [];
    for (const end of ending) await end().catch((error: unknown) => failed.push(error));
    for (const error of failed) note(`while tidying up: ${String(error)}`);
  }
}
