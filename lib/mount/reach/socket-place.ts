/** The place of a unix socket: whether somebody listens there, and whether others could put one of their own there. */
import { lstatSync, realpathSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { errorCode } from '../../base/log.js';
import { ownUid } from './runtime-folder.js';

/** The kernel shows this uid for users without a counterpart in this user namespace. */
const OVERFLOW_UID = 65_534;
const STICKY = 0o1000;

/** The answer to the question whether somebody listens on a socket; with a code, it cannot be told. */
export type Listener = 'somebody' | 'nobody' | { readonly unknown: string };

/** Whether a process listens on the socket `path`. Only where nobody does may it be removed. Never waits. */
export function listenerOn(path: string): Promise<Listener> {
  return new Promise((resolve) => {
    const trial = connect(path);
    trial.on('connect', () => {
      trial.destroy();
      resolve('somebody');
    });
    trial.on('error', (error) => resolve(listenerBehind(errorCode(error))));
  });
}

/** unix(7), connect(2). Any other error, such as EACCES or EMFILE, says nothing about the listener. */
function listenerBehind(code: string): Listener {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'nobody';
    case 'EAGAIN':
      // The queue of those that it has yet to accept is full.
      return 'somebody';
    default:
      return { unknown: code };
  }
}

/** `own`: only this user and root put files into a folder; `shared`: others do as well; `foreign`: it is another user's. */
export type FolderUse = 'own' | 'shared' | 'foreign';

/** The users who can put a socket into a folder. @throws Error of the system if there is none, or it may not be looked at */
export function useOfFolder(folder: string): FolderUse {
  const found = lstatSync(folder);
  const { uid, mode } = found;
  // A public folder such as /tmp is that of root, whom a user namespace does not show.
  if (uid === OVERFLOW_UID && (mode & STICKY) !== 0) return 'shared';
  if (uid !== ownUid() && uid !== 0) return 'foreign';
  if (!found.isSymbolicLink()) return (mode & 0o022) === 0 ? 'own' : 'shared';
  // A user who can replace the link leads us elsewhere.
  const uses = [useOfFolder(dirname(folder)), useOfFolder(realpathSync(folder))];
  return (['foreign', 'shared'] as const).find((use) => uses.includes(use)) ?? 'own';
}
