/**
 * Compiled code that one process of this program leaves to the next (Node 22.1 and later). A stranger who could write it could
 * run code in this process. So it lies in the user's runtime folder, which no other user may enter, and is reached by the
 * opened folder, never by a path that somebody could turn elsewhere.
 */
import { readdirSync, rmSync } from 'node:fs';
import module from 'node:module';
import { openRuntimeFolder } from '../reach/runtime-folder.js';

/** Its name in the runtime folder. */
const FOLDER = 'code';
/** Files of older versions of the program stay there, a mebibyte each: with more than so many files it begins anew. */
const MOST_FILES = 64;

interface WithCache {
  readonly enableCompileCache?: (folder: string) => unknown;
}

/**
 * Modules that are imported from now on come from the cache, and go into it when the process ends. Does nothing where Node has no
 * cache, where the user has set NODE_COMPILE_CACHE or NODE_DISABLE_COMPILE_CACHE, and where there is no folder for it.
 */
export function useCodeCache(): void {
  const { enableCompileCache } = module as WithCache;
  const { NODE_COMPILE_CACHE: own, NODE_DISABLE_COMPILE_CACHE: none } = process.env;
  if (enableCompileCache === undefined || own !== undefined || none !== undefined) return;
  try {
    // It stays open: the cache is written when the process ends.
    const folder = openRuntimeFolder();
    if (folder === undefined) return;
    const place = folder.at(FOLDER);
    if (filesIn(place) > MOST_FILES) rmSync(place, { recursive: true, force: true });
    enableCompileCache(place);
  } catch {
    // The program starts slower, and nothing else.
  }
}

function filesIn(place: string): number {
  try {
    return readdirSync(place, { recursive: true }).length;
  } catch {
    return 0;
  }
}
