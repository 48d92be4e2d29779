/** The programs that tests of containers need beside those of the other tests. */
import { existsSync } from 'node:fs';

/** Fails with what is missing. `npm test` installs it (test/setup/machine.mjs: CONTAINER_PACKAGES). */
export function requireTools(...names: string[]): void {
  const folders = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`.split(':');
  const missing = names.filter((name) => !folders.some((folder) => existsSync(`${folder}/${name}`)));
  if (missing.length === 0) return;
  throw new Error(`not installed: ${missing.join(' ')}; test/setup/machine.mjs lists the Debian packages`);
}
