/** A file that is open for writing on a fake server, with a clock turned by hand. */
import { O_RDWR, Rig } from './rig.js';

export const KIB = 1024;

/** Bytes that say where they belong. */
export function pattern(length: number, seed = 0): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8) * 13 + seed) & 0xff));
}

export async function opened(
  options: ConstructorParameters<typeof Rig>[0] = {},
  content = '',
  flags = O_RDWR,
) {
  const rig = new Rig(options);
  rig.server.tree.file('f', content);
  const { inode, fh } = await rig.open('f', flags);
  rig.server.forgetCalls();
  return { rig, server: rig.server, inode, fh };
}
