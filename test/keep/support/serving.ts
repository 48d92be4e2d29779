/** The process that serves a mount, as the mount itself tells. */
import type { Mount } from '../../support/mount.js';
import { run } from '../../support/process.js';

/** Its id; 0 while none answers. */
export async function servingProcess({ place, path }: Pick<Mount, 'place' | 'path'>): Promise<number> {
  const asked = await run(place.command([...place.product, 'stats', '--json', path]), { cwd: '/' });
  return asked.status === 0 ? (JSON.parse(asked.stdout.toString()) as { pid: number }).pid : 0;
}
