/** From the words on the command line to the files that are mutated and the tests that are run. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup/common.mjs';
import { GROUPS } from './groups.mjs';

/** The source files of a group, sorted. */
export function sourcesOf(group) {
  const named = GROUPS[group].sources.map((path) => (path.endsWith('/') ? filesIn(path) : [path]));
  return named.flat().sort();
}

function filesIn(folder) {
  const names = readdirSync(join(root, folder)).filter((name) => name.endsWith('.ts'));
  return names.map((name) => `${folder}${name}`);
}

/**
 * A word asks for a group, or for a source file with the tests of its group. A range of lines may follow the file.
 * Throws an error whose message is for the user.
 */
export function select(word) {
  const [file, lines] = word.split(':');
  for (const [group, { tests }] of Object.entries(GROUPS)) {
    const sources = sourcesOf(group);
    if (word === group) return { name: group, mutate: sources, tests };
    if (sources.includes(file)) return { name: file, mutate: [lines ? `${file}:${lines}` : file], tests };
  }
  const known = Object.keys(GROUPS).join(', ');
  throw new Error(`"${word}" is neither a group nor a source file of one. The groups: ${known}`);
}
