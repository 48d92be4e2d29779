/** The writer of one open file on a fake server. */
import { writerOf } from '../../../lib/vfs/write-behind/write-behind.js';
import { O_RDWR, Rig } from './rig.js';

export const KIB = 1024;

export const MIB = 1024 * KIB;

export async function opened(options: ConstructorParameters<typeof Rig>[0] = {}) {
  const rig = new Rig(options);
  rig.server.tree.file('f');
  const { inode, fh } = await rig.open('f', O_RDWR);
  rig.server.forgetCalls();
  const write = (offset: number, length: number) => rig.write(fh, offset, Buffer.alloc(length, 'x'));
  await write(0, 0);
  const writer = writerOf(inode);
  if (writer === undefined) throw new Error('no writer');
  return { rig, server: rig.server, inode, fh, write, writer };
}

export type Writer = Awaited<ReturnType<typeof opened>>['writer'];

export const state = ({ clean, dirty, unwrittenBytes }: Writer) => ({ clean, dirty, unwrittenBytes });
