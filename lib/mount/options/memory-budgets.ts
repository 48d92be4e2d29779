/**
 * How much memory a mount takes for data unless its user says otherwise. Owns the parts of a container's memory limit: the
 * kernel ends the largest process of a container that reaches its limit, and data that was written behind still takes
 * memory when the next process starts.
 */
import { type ClientConfig, DEFAULT_CONFIG } from '../../vfs/config.js';

/** The rest is for the engine, the caches of names, and the programs of the container. */
const WRITE_BEHIND_PART = 1 / 8;
const READ_AHEAD_PART = 1 / 16;
/** Less than the largest WRITE would make writing slow, and save nothing. */
const LEAST = 1024 * 1024;

/** Both in bytes. `limit`: the memory that the process may have, in bytes. */
export function memoryBudgets(limit: number): Pick<ClientConfig, 'readAhead' | 'writeBehind'> {
  const part = (most: number, share: number) => Math.min(most, Math.max(LEAST, Math.floor(limit * share)));
  return {
    readAhead: part(DEFAULT_CONFIG.readAhead, READ_AHEAD_PART),
    writeBehind: part(DEFAULT_CONFIG.writeBehind, WRITE_BEHIND_PART),
  };
}
