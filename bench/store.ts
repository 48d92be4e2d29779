/** A scratch folder behind a subject, with the files that freshly mounted clients are primed with. */
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { mustRun } from '../test/support/process.js';
import { runLoad } from './load.js';
import type { Row, Store } from './model.js';

const PRIME_BYTES = 16 << 20;

/** The load that a client does before it is measured: it should not pay for having just been started. */
export const primeLoad = (store: Store, root: string): readonly string[] => [
  'prime',
  join(root, 'prime'),
  String(store.primeFiles),
];

/** A store in `path`; what it needs besides rows' folders is made here. */
export async function makeStore(path: string, load: string, primeFiles: number): Promise<Store> {
  const prime = join(path, 'prime');
  mkdirSync(prime, { recursive: true });
  await runLoad([load, 'create', join(prime, 'small'), String(primeFiles), '1024']);
  await runLoad([load, 'write', join(prime, 'big'), String(PRIME_BYTES), String(1 << 20)]);
  openToAll(prime);
  return { path, primeFiles };
}

/** The name of a row's folder in every store. */
export function folderOf({ id, folder = id }: Row): string {
  return folder;
}

/** Makes and fills a row's folder. */
export async function prepareRow(store: Store, row: Row): Promise<void> {
  const folder = join(store.path, folderOf(row));
  mkdirSync(folder);
  openToAll(folder);
  await row.prepare?.(folder);
}

/** Removes a row's folder. */
export async function emptyRow(store: Store, row: Row): Promise<void> {
  await mustRun(['rm', '-rf', join(store.path, folderOf(row))], { cwd: '/', timeoutMs: 600_000 });
}

/** Subjects that run as other users write into the same folders. */
function openToAll(folder: string): void {
  chmodSync(folder, 0o777);
}
