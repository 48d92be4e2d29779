/**
 * The protocol between the Node service, which may mount, and the mounter, which serves the mounts without any privilege: one
 * question for each connection of a unix socket. A question is one byte, with the descriptor of a mount if it is about a new one
 * (SCM_RIGHTS), and a line of JSON. So is the answer, without the byte.
 */
import type { Socket } from 'node:net';
import { isRecord, parsedJson } from '../../base/json.js';
import { type FailureKind, failureKindIn } from '../../mount/failure/told-failure.js';

/** Serve the mount whose descriptor comes along. */
export interface ServeQuestion {
  readonly serve: {
    /** Where it is mounted, as the Node service sees it: its name. */
    readonly place: string;
    /** As `nfs-fuse mount` takes it. */
    readonly target: string;
    /** Texts of -o. */
    readonly options: readonly string[];
  };
}

/** Wait for the end of the mounts that are not at this place any more. */
export interface SettleQuestion {
  readonly settle: { readonly place: string };
}

/** `done`: what was asked for has happened. `note`: what there is to say. */
export type MounterAnswer =
  | { readonly done: true; readonly note?: string }
  | { readonly failed: string; readonly kind: FailureKind };

const MOST_BYTES = 64 * 1024;

/** The question in a line. Undefined: it is none. */
export function questionIn(line: unknown): ServeQuestion | SettleQuestion | undefined {
  if (!isRecord(line)) return undefined;
  const { serve, settle } = line;
  if (isRecord(settle) && typeof settle.place === 'string') return { settle: { place: settle.place } };
  if (!isRecord(serve)) return undefined;
  const { place, target, options } = serve;
  if (!isWord(place) || !isWord(target) || !Array.isArray(options) || !options.every(isWord))
    return undefined;
  return { serve: { place, target, options } };
}

/** The answer in a line. Undefined: it is none. */
export function answerIn(line: unknown): MounterAnswer | undefined {
  if (!isRecord(line)) return undefined;
  if (typeof line.failed === 'string') return { failed: line.failed, kind: failureKindIn(line.kind) };
  if (line.done !== true) return undefined;
  return typeof line.note === 'string' ? { done: true, note: line.note } : { done: true };
}

/** The next line that comes over a socket, as JSON. Undefined: it is closed before, or the line is none of JSON. */
export function nextLine(socket: Socket): Promise<unknown> {
  return new Promise((resolve) => {
    let said = '';
    const take = (text: string): void => {
      said += text;
      const end = said.indexOf('\n');
      if (end < 0 && said.length <= MOST_BYTES) return;
      // All else that comes is read, so that the end of the connection is noticed, and is of no meaning.
      socket.off('data', take);
      if (end < 0) socket.destroy();
      else {
        socket.resume();
        resolve(parsedJson(said.slice(0, end)));
      }
    };
    socket.setEncoding('utf8').on('data', take);
    socket.once('close', () => resolve(undefined));
    if (socket.destroyed) resolve(undefined);
  });
}

/** No argument of a program can have a NUL in it. */
function isWord(value: unknown): value is string {
  return typeof value === 'string' && !value.includes('\0');
}
