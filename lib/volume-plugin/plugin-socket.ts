/**
 * The socket of the plugin: one that systemd has opened, or one of our own. A program that can connect
 * mounts as our user, so ours is for that user alone, in a folder where no other user could put another one.
 */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname, resolve } from 'node:path';
import { errorCode } from '../base/log.js';
import { UserError } from '../base/user-error.js';

/** sd_listen_fds(3): the first descriptor that is handed over. */
const FIRST = 3;
/** unix(7): sun_path has 108 bytes, the last of which ends the name. */
const MOST_BYTES = 107;

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
  if (Buffer.byteLength(own) > MOST_BYTES)
    throw new UserError(`The path of the socket has more than ${MOST_BYTES} bytes: ${own}`, {
      remedy: 'Name a shorter one with --socket.',
    });
  makeFolder(dirname(own));
  await removeStale(own);
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
    const { uid, mode } = lstatSync(folder);
    if ((uid === process.geteuid?.() || uid === 0) && (mode & 0o022) === 0) return;
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

/** Removes the socket of a plugin that has ended. */
async function removeStale(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new UserError(`${path} is no socket.`, { remedy: 'Name another one with --socket.' });
  const answers = await new Promise<boolean>((done) => {
    const probe = connect(path);
    probe.once('connect', () => done(true)).once('error', () => done(false));
    probe.once('connect', () => probe.destroy());
  });
  if (answers)
    throw new UserError(`Another program listens on ${path}.`, {
      remedy: 'End it, or name another socket with --socket.',
    });
  rmSync(path, { force: true });
}
