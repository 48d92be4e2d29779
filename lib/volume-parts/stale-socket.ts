/** The place of a unix socket that is about to be made: its length, and what an earlier process has left there. */
import { lstatSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { UserError } from '../base/user-error.js';

/** unix(7): sun_path has 108 bytes, the last of which ends the name. */
const MOST_BYTES = 107;

/**
 * Removes the socket of a process that has ended. `option`: how users name the path, such as `--socket`.
 * @throws UserError if the path is too long, something else is there, or somebody listens there
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
  const answers = await new Promise<boolean>((done) => {
    const probe = connect(path);
    probe.once('connect', () => done(true)).once('error', () => done(false));
    probe.once('connect', () => probe.destroy());
  });
  if (answers)
    throw new UserError(`Another program listens on ${path}.`, {
      remedy: `End it, or name another socket with ${option}.`,
    });
  rmSync(path, { force: true });
}
