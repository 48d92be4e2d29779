/**
 * The key that seals the file handles of `nfs-fuse serve`, kept in a file of the user's own, so that the handles of
 * clients outlive the server.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { errorCode } from '../base/log.js';

const KEY_BYTES = 16;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;

export interface HandleKey {
  readonly key: Uint8Array;
  /** The reason why the key will be another one after a restart. Undefined: it will be the same. */
  readonly problem: string | undefined;
}

/** The key of this user on this machine. The first call makes it. Never throws. */
export function handleKey(): HandleKey {
  let problem = 'there is no folder for it';
  for (const folder of folders()) {
    try {
      return { key: keyIn(folder), problem: undefined };
    } catch (error) {
      problem = `${folder}: ${errorCode(error)}`;
    }
  }
  return { key: randomBytes(KEY_BYTES), problem };
}

/** Folders for the key, the best one first, according to the XDG base directory specification. */
function folders(): string[] {
  const { XDG_STATE_HOME: state } = process.env;
  if (state !== undefined && isAbsolute(state)) return [join(state, 'nfs-fuse')];
  return [
    ...(process.geteuid?.() === 0 ? ['/var/lib/nfs-fuse'] : []),
    join(homedir(), '.local', 'state', 'nfs-fuse'),
  ];
}

function keyIn(folder: string): Uint8Array {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  requireOurs(lstatSync(folder), folder);
  const path = join(folder, 'serve.key');
  try {
    return readKey(path);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  makeKey(path);
  return readKey(path);
}

/** Makes the file of the key. If two servers start at once, the first link(2) wins, and both read that file. */
function makeKey(path: string): void {
  const made = `${path}.${randomBytes(6).toString('hex')}`;
  const descriptor = openSync(made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  try {
    writeSync(descriptor, randomBytes(KEY_BYTES));
    fsyncSync(descriptor);
    linkSync(made, path);
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  } finally {
    closeSync(descriptor);
    rmSync(made);
  }
}

function readKey(path: string): Uint8Array {
  const descriptor = openSync(path, O_RDONLY | O_NOFOLLOW);
  try {
    requireOurs(fstatSync(descriptor), path);
    const key = Buffer.alloc(KEY_BYTES + 1);
    if (readSync(descriptor, key) !== KEY_BYTES) throw new Error(`it does not hold ${KEY_BYTES} bytes`);
    return key.subarray(0, KEY_BYTES);
  } finally {
    closeSync(descriptor);
  }
}

/** Throws unless only this user may read and replace the key. */
function requireOurs({ uid, mode }: { readonly uid: number; readonly mode: number }, path: string): void {
  if (uid === process.geteuid?.() && (mode & 0o077) === 0) return;
  throw new Error(`${path} is not this user's alone`);
}
