/** The place of a unix socket that is about to be made: its length, and what an earlier process has left there. */
import { lstatSync, rmSync } from 'node:fs';
import { UserError } from '../base/user-error.js';
import { listenerOn } from '../mount/reach/socket-place.js';

/** unix(7): sun_path has 108 bytes, the last of which ends the name. */
const MOST_BYTES = 107;

/**
 * Removes the socket of a process that has ended. `option`: how users name the path, such as `--socket`.
 * @throws UserError if the path is too long, something else is there, or somebody listens there, or may do so
 */
export async function prepareSocket(path: string, option: string): Promise<void> {
  if (Buffer.byteLength(path) > MOST_BYTES)
    throw new UserError(`The path of the socket has more than ${MOST_BYTES} bytes: ${path}`, {
      remedy: `Name a shorter one with ${option}.`,
    });
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new UserError(`${path} is no socket.`, { remedy: `Name another one with ${option}.` });
  const listener = await listenerOn(path);
  if (listener === 'nobody') rmSync(path, { force: true });
  else if (listener === 'somebody')
    throw new UserError(`Another program listens on ${path}.`, {
      remedy: `End it, or name another socket with ${option}.`,
    });
  else
    throw new UserError(`It cannot be told whether a program listens on ${path} (${listener.unknown}).`, {
      remedy: `Remove it if none does, or name another socket with ${option}.`,
    });
}
