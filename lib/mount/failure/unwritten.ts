/** Describes data that is written but not on the server's stable storage yet, for people. */

import { isRecord } from '../../base/json.js';
import { shownName } from '../../base/shown-name.js';
import type { UnwrittenFile } from '../../vfs/data/files.js';

/** At most so many files are named. Of the others only the number is told. */
const NAMED = 10;
const MAX_PATH = 1_000;

/** In a form for JSON. Paths are text to show, with control characters escaped. */
export interface Unwritten {
  readonly bytes: number;
  readonly files: number;
  /** The files with the most data, at most {@link NAMED}. */
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

/** The same in an answer of another process, which may be another user's. Undefined: it is nothing of the kind. */
export function unwrittenIn(value: unknown): Unwritten | undefined {
  if (!isRecord(value)) return undefined;
  const { bytes, files, largest } = value;
  if (typeof bytes !== 'number' || typeof files !== 'number' || !Array.isArray(largest)) return undefined;
  return { bytes, files, largest: largest.flatMap(fileIn) };
}

function fileIn(value: unknown): UnwrittenFile[] {
  if (!isRecord(value) || typeof value.path !== 'string' || typeof value.bytes !== 'number') return [];
  return [{ path: shown(value.path), bytes: value.bytes }];
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
