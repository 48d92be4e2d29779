import { readFileSync } from 'node:fs';

/** The text of a small file, a character for each byte; empty if the file is not there, has just gone, or may not be read. */
export function textOrNothing(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
