/** The settings of a mount that come from its front end, beside the request itself. */
import type { Logger } from '../../base/log.js';
import type { WatcherOptions } from '../keep/shell-process.js';
import type { MountJournal } from '../reach/journal.js';
import type { KeepSettings, TakeOverSettings } from './keeping.js';
import type { KernelTransport } from './kernel-transport.js';

export interface MountSettings {
  /** Gets every message about the mount. */
  readonly log: Logger;
  /** The way to the kernel; `kernel` if it is left out. */
  readonly transport?: KernelTransport | undefined;
  /** The descriptor of a mount that another process made. The mount point is only its name then. */
  readonly inherited?: number | undefined;
  /** Ends the start: {@link startMount} rejects with the signal's reason. Of no effect once the mount answers. */
  readonly signal?: AbortSignal | undefined;
  /** Gets a message when an attempt to connect has failed and another one will follow (retry=). */
  readonly retrying?: ((message: string) => void) | undefined;
  /** Keeps the messages of a failed end for the next command that looks. */
  readonly journal?: MountJournal | undefined;
  /** The process that takes the mount away if this process is killed. Undefined: the mount stays, dead. */
  readonly watcher?: WatcherOptions | undefined;
  /** Another process goes on with the mount if this process dies. Undefined: the mount ends with the process. */
  readonly keep?: KeepSettings | undefined;
  /** The mount with which this process goes on; it makes none then. Needs `keep` as well. */
  readonly takeOver?: TakeOverSettings | undefined;
  /** Losses of which no program could be told make the end a failure, whenever they happened. */
  readonly untoldIsFailure?: boolean | undefined;
  /** Called when another process, `pid`, serves the mount, and this one is about to end. */
  readonly handedOver?: ((pid: number) => void) | undefined;
  /** Gets a line for every FUSE request and reply. */
  readonly dumpFuse?: ((line: string) => void) | undefined;
  /** Gets a line for every remote call. */
  readonly dumpRpc?: ((line: string) => void) | undefined;
  /** Collects garbage and returns memory to the machine, after the caches have shrunk a lot. */
  readonly collectGarbage?: (() => void) | undefined;
  readonly hints?: FrontEndHints | undefined;
}

/** How the user of this front end can go further. The mount appends it to its messages. */
export interface FrontEndHints {
  /** A clause for a mount that ends while programs use it: "a second signal ends it at once". */
  readonly endAtOnce?: string | undefined;
  /** A sentence for an end that waits for the server. */
  waiting?(): string;
  /** A sentence for a mount without a control socket. */
  readonly withoutSocket?: string | undefined;
}

/** The sentence `text`, and `hint` behind it if there is one. */
export function withHint(text: string, hint: string | undefined): string {
  return hint === undefined ? text : `${text} ${hint}`;
}
