/**
 * The mounter's end of a connection: one question comes, and its answer goes. Owns who may ask, that a question comes in good time,
 * and that no other descriptor than the one of a mount is taken.
 */
import { closeSync } from 'node:fs';
import type { Socket } from 'node:net';
import { UserError } from '../../base/user-error.js';
import { receiveDescriptor } from '../../fuse/index.js';
import { peerOf } from '../../mount/reach/peer.js';
import { descriptorOf } from '../../mount/reach/socket-descriptor.js';
import { sleep } from '../../mount/waiting.js';
import {
  type MounterAnswer,
  nextLine,
  questionIn,
  type ServeQuestion,
  type SettleQuestion,
} from './mounter-protocol.js';

/** A question that is not complete within this time never is. */
const PATIENCE_MS = 10_000;
/** The first byte of a question is looked for this often. */
const LOOK_MS = 5;
const EAGAIN = 11;

export interface ReceivedQuestion {
  readonly question: ServeQuestion | SettleQuestion;
  /** For the caller to close. */
  readonly descriptor: number | undefined;
}

/**
 * The question that comes over a connection from which Node has not read yet.
 * @throws UserError if none comes, or its sender may not ask
 */
export async function receiveQuestion(connection: Socket): Promise<ReceivedQuestion> {
  checkPeer(connection);
  let descriptor: number | undefined;
  const timer = setTimeout(() => connection.destroy(), PATIENCE_MS);
  try {
    descriptor = await firstByte(connection);
    const line = nextLine(connection);
    connection.resume();
    const question = questionIn(await line);
    if (question !== undefined) return { question, descriptor };
    throw new UserError('This is no question for a mounter.');
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when the answer is on its way, or nobody is there to hear it. */
export function deliver(connection: Socket, answer: MounterAnswer): Promise<void> {
  return new Promise((resolve) => {
    if (connection.destroyed) resolve();
    connection.once('close', () => resolve());
    connection.resume();
    connection.end(`${JSON.stringify(answer)}\n`, () => connection.destroy());
  });
}

/** @throws UserError unless the process at the other end is root's, or of this user */
function checkPeer(connection: Socket): void {
  const fd = descriptorOf(connection);
  const peer = fd === undefined ? undefined : peerOf(fd);
  if (peer !== undefined && (peer.uid === 0 || peer.uid === process.geteuid?.())) return;
  throw new UserError('Only root, and the user of the mounter, may hand mounts over.');
}

/** The descriptor that comes with the first byte of a connection. Undefined: none does. @throws UserError */
async function firstByte(connection: Socket): Promise<number | undefined> {
  for (;;) {
    const fd = descriptorOf(connection);
    if (fd === undefined) throw new UserError('No question has come.');
    const received = receiveDescriptor(fd);
    if (received !== -EAGAIN) return received >= 0 ? received : undefined;
    await sleep(LOOK_MS);
  }
}
