/** All rows, in the order of the report. */
import type { Row } from '../model.js';
import { dataRows } from './data.js';
import { fileRows } from './files.js';
import type { Sizes } from './sizes.js';
import { treeRows } from './trees.js';

/** `load`: load.c's program, with which rows prepare their folders. */
export function allRows(sizes: Sizes, load: string): Row[] {
  return [...dataRows(sizes, load), ...fileRows(sizes, load), ...treeRows(sizes, load)];
}
