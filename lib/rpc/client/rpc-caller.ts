/** The interface through which the typed clients (NFS, MOUNT, portmap, NLM) make their calls. */
import type { Credential } from '../auth/credential.js';
import type { Procedure } from '../wire/procedure.js';

/** Lets a caller stop waiting. A FUSE request is one. */
export interface Cancellation {
  readonly cancelled: boolean;
  /** Calls `listener` once, when {@link cancelled} becomes true; at once if it is already. */
  onCancel(listener: () => void): void;
}

export interface CallOptions {
  readonly credential: Credential;
  /** When it fires, the call fails with RpcCancelledError; the reply, if it still comes, is ignored. */
  readonly cancellation?: Cancellation | undefined;
  /**
   * Called each time that the request is sent again. The answer may then be the echo of an earlier success
   * (RFC 1813 4.4 on replays).
   */
  readonly onRetransmit?: (() => void) | undefined;
}

export interface RpcCaller {
  /** Resolves with the decoded result; rejects with an RpcError (see rpc-errors.ts). */
  call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    options: CallOptions,
  ): Promise<Result>;
  /**
   * Takes back the memory of the reply that `data` is a slice of, and uses it for later replies. No part of that reply
   * may be in use any more. A caller that cannot be sure does not call this, and the garbage collector takes the
   * memory.
   */
  recycle?(data: Uint8Array): void;
  /** The user was told "not responding", and not yet "OK". Undefined: not known. */
  readonly unresponsive?: boolean;
  /** Fails outstanding calls with RpcClosedError and ends the connection. */
  close(): void;
}
