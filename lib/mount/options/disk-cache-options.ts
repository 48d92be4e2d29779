/** Options of the cache on the local disk: fsc, fscsize and nofsc. Owns the rules between them and others. */
import { isAbsolute } from 'node:path';
import { UserError } from '../../base/user-error.js';
import type { ClientConfig } from '../../vfs/config.js';
import { type Draft, flag, type MountOption, type Settings } from './option-kinds.js';

/** Of a few blocks nobody has any use. */
const LEAST_SIZE = 1024 * 1024;
/** 2^53: beyond it, numbers are not exact. */
const MOST_SIZE = Number.MAX_SAFE_INTEGER;
const UNITS = ['', 'k', 'm', 'g', 't'];

const folder: MountOption = {
  value: 'optional',
  apply(draft, path) {
    if (path !== undefined && (!isAbsolute(path) || path.includes('\0')))
      throw new UserError(`fsc=${path} is no absolute path.`, {
        remedy: 'Write fsc=/a/folder, or fsc alone for the cache folder of the user who mounts.',
      });
    draft.client.diskCache = { folder: path };
  },
};

const size: MountOption = {
  value: 'required',
  hint: 'size, such as 20g',
  apply(draft, text) {
    const [, digits = '', unit = ''] = /^(\d{1,15})([kmgt]?)$/i.exec(text) ?? [];
    const bytes = Number(digits) * 1024 ** UNITS.indexOf(unit.toLowerCase());
    if (digits === '' || bytes < LEAST_SIZE || bytes > MOST_SIZE)
      throw new UserError(`fscsize=${text} is not a size from 1m to 8000t.`, {
        remedy: 'fscsize is a number of bytes, or one with k, m, g or t behind it: fscsize=20g.',
      });
    draft.client.diskCacheSize = bytes;
  },
};

export const DISK_CACHE_OPTIONS: readonly (readonly [string, MountOption])[] = [
  ['fsc', folder],
  ['nofsc', flag({ diskCache: undefined })],
  ['fscsize', size],
];

/**
 * The outcome of these options together with the others. A cache that could not be used is not made, and a note says so.
 * @throws UserError for a size without a cache
 */
export function checkDiskCache(
  chosen: Settings,
  { attributeCache, acRegMaxMs }: Pick<ClientConfig, 'attributeCache' | 'acRegMaxMs'>,
  notes: Draft['notes'],
): Pick<ClientConfig, 'diskCache'> {
  if (chosen.diskCacheSize !== undefined && !('diskCache' in chosen))
    throw new UserError(
      'fscsize is the size of the cache on the local disk, and there is none without fsc.',
      {
        remedy: 'Write fsc as well, or leave out fscsize.',
      },
    );
  const { diskCache } = chosen;
  if (diskCache === undefined || (attributeCache && acRegMaxMs > 0)) return { diskCache };
  notes.push(
    'fsc has no effect: with noac or actimeo=0 every read goes to the server, and nothing is kept on the local disk.',
  );
  return { diskCache: undefined };
}
