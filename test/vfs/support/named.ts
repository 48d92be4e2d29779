/** Names as the fake server's tree has them: strings of one character per byte. */
import { type FileName, fileNameFromBytes } from '../../../lib/programs/nfs3/index.js';

export function named(name: string): FileName {
  return fileNameFromBytes(Buffer.from(name, 'latin1'));
}
