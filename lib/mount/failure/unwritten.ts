/** What was written and is not on the server's stable storage yet, as users are told of it. */

import { shownName } from '../../base/shown-name.js';
import type { UnwrittenFile } from '../../vfs/data/files.js';

/** Files that are named; of the others only the number is told. */
const NAMED = 10;
const MAX_PATH = 1_000;

/** As JSON carries it; paths are text to be shown, with what a terminal must not get escaped. */
export interface Unwritten {
  readonly bytes: number;
  readonly files: number;
  /** Those with most, at most {@link NAMED}. */
  readonly largest: readonly UnwrittenFile[];
}

export function summarize(files: readonly UnwrittenFile[]): Unwritten {
  const sorted = [...files].sort((a, b) => b.bytes - a.bytes);
  return {
    bytes: files.reduce((sum, { bytes }) => sum + bytes, 0),
    files: files.length,
    largest: sorted.slice(0, NAMED).map(({ path, bytes }) => ({ path: shown(path), bytes })),
  };
}

function shown(path: string): string {
  const text = shownName(path);
  return text.length > MAX_PATH ? `…${text.slice(-MAX_PATH)}` : text;
}

/** "3.2 MiB of 2 files: /a (3.1 MiB), /b (120 bytes)". */
export function describeUnwritten({ bytes, files, largest }: Unwritten): string {
  const named = largest.map((file) => `${file.path} (${size(file.bytes)})`);
  if (files > largest.length) named.push(`${files - largest.length} more`);
  return `${size(bytes)} of ${files === 1 ? '1 file' : `${files} files`}: ${named.join(', ')}`;
}

function size(bytes: number): string {
  if (bytes === 1) return '1 byte';
  return bytes < 10_000
    ? `${bytes} bytes`
    : `${(bytes / (1024 * 1024)).toFixed(bytes < 1 << 20 ? 2 : 1)} MiB`;
}
