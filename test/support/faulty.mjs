/**
 * Loaded into the product by NODE_OPTIONS=--import: names that begin with "fault-" meet an error of our own in the
 * middle of a request. FAULTY_FILESYSTEM is the URL of the compiled lib/vfs/filesystem.js. With FAULTY_START the first
 * request for attributes, by which a mount is found to answer, meets one too. An exception in a callback comes once, where
 * FAULTY_ONCE names a file that it can make.
 */
import { existsSync, writeFileSync } from 'node:fs';

const { FAULTY_FILESYSTEM, FAULTY_START, FAULTY_ONCE } = process.env;

if (FAULTY_FILESYSTEM !== undefined) {
  const { NfsFileSystem } = await import(FAULTY_FILESYSTEM);
  const { getattr, lookup } = NfsFileSystem.prototype;
  let starting = FAULTY_START !== undefined;
  NfsFileSystem.prototype.getattr = function (...request) {
    if (starting) void Promise.reject(new TypeError('at the start, on purpose'));
    starting = false;
    return getattr.apply(this, request);
  };
  NfsFileSystem.prototype.lookup = function (context, parent, name) {
    switch (name.toString()) {
      case 'fault-thrown':
        throw new TypeError('thrown on purpose');
      case 'fault-rejected':
        return Promise.reject(new TypeError('rejected on purpose'));
      case 'fault-forgotten':
        void Promise.reject(new TypeError('forgotten on purpose'));
        break;
      case 'fault-later':
        if (FAULTY_ONCE !== undefined) {
          if (existsSync(FAULTY_ONCE)) break;
          writeFileSync(FAULTY_ONCE, '');
        }
        setTimeout(() => {
          throw new TypeError('later on purpose');
        }, 0);
        break;
      default:
    }
    return lookup.call(this, context, parent, name);
  };
}
