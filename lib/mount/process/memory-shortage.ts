/**
 * Which process the kernel ends when a container has no memory left. Owns the order of two of them: the one that serves a
 * mount goes before the one that runs a command on it (`nfs-fuse exec`), since another can go on with the mount, and the end
 * of the latter is the end of the container.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { memoryLimit } from '../options/memory-limit.js';

const SCORE = '/proc/self/oom_score_adj';
const MOST = 1000;
/** The one that runs the command has 70 MB at most; the one that serves has as little when it starts. */
const AHEAD_BYTES = 96 * 1024 * 1024;

/**
 * From now on this process is ended before the one that runs the command. Anybody may raise a score (proc_pid_oom_score_adj(5));
 * a thousandth of it stands for a thousandth of the memory limit. `before`: the score that the first serving process had,
 * if this one is a later one. Answers that score; undefined if it is not known.
 */
export function goFirst(before: number | undefined): number | undefined {
  try {
    const score = before ?? Number(readFileSync(SCORE, 'latin1'));
    const ahead = Math.ceil((MOST * AHEAD_BYTES) / memoryLimit());
    writeFileSync(SCORE, String(Math.min(MOST, score + ahead)));
    return score;
  } catch {
    return before;
  }
}
