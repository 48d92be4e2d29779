/**
 * The socket of the plugin: one that systemd has opened, or one of our own. A program that can connect
 * mounts as our user, so ours is for that user alone, in a folder where no other user could put another one.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { dirname, resolve } from 'node:path';
import { errorCode } from '../base/log.js';
import { UserError } from '../base/user-error.js';
import { useOfFolder } from '../mount/reach/socket-place.js';
import { prepareSocket } from '../volume-parts/stale-socket.js';

/** sd_listen_fds(3): the first descriptor that is handed over. */
const FIRST = 3;

/** Whether systemd has opened the socket. */
export function isHandedOver(env: NodeJS.ProcessEnv = process.env): boolean {
  return env.LISTEN_PID === String(process.pid) && Number(env.LISTEN_FDS) > 0;
}

/**
 * Listens on `path`, or on the socket that systemd hands over. Resolves with a function that removes our own socket.
 * @throws UserError if that is not possible, or not safe
 */
export async function listenAsPlugin(server: Server, path: string): Promise<() => void> {
  if (isHandedOver()) {
    if (process.env.LISTEN_FDS !== '1')
      throw new UserError(`systemd hands over ${process.env.LISTEN_FDS} sockets, and a plugin has one.`, {
        remedy: 'Write one ListenStream= in the socket unit.',
      });
    try {
      await listening(server, () => server.listen({ fd: FIRST }));
    } catch (error) {
      throw new UserError(`The socket that systemd hands over cannot be used (${errorCode(error)}).`, {
        remedy: 'It has to be a stream socket: ListenStream= in the socket unit, and Accept=no.',
        cause: error,
      });
    }
    return () => {};
  }
  const own = resolve(path);
  makeFolder(dirname(own));
  await prepareSocket(own, '--socket');
  const umask = process.umask(0o177);
  try {
    // The socket is made before this returns.
    await listening(server, () => {
      server.listen(own);
      process.umask(umask);
    });
  } catch (error) {
    throw new UserError(`The socket ${own} cannot be made (${errorCode(error)}).`, {
      remedy: 'Name another one with --socket.',
      cause: error,
    });
  } finally {
    process.umask(umask);
  }
  chmodSync(own, 0o600);
  return () => rmSync(own, { force: true });
}

function listening(server: Server, begin: () => void): Promise<void> {
  return new Promise((done, reject) => {
    server.once('error', reject);
    server.once('listening', () => {
      server.off('error', reject);
      done();
    });
    begin();
  });
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (useOfFolder(folder) === 'own') return;
  } catch (error) {
    throw new UserError(`The folder ${folder} of the socket cannot be used (${errorCode(error)}).`, {
      remedy: 'Name a socket in another folder with --socket.',
      cause: error,
    });
  }
  throw new UserError(`Others may change the folder ${folder}, and could put a socket of their own there.`, {
    remedy: 'Name a socket in a folder of your own with --socket.',
  });
}
