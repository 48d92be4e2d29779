/** What the typed clients (NFS, MOUNT, portmap, NLM) need of an RPC connection. */
import type { Credential } from '../auth/credential.js';
import type { Procedure } from '../wire/procedure.js';

/** Somebody who may stop waiting. A FUSE request is one; so is a test's own. */
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
   * Told whether the request went out more than once: the answer may then be the echo of an earlier success
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
   * Takes back the memory of the reply that `data` is a slice of, for later ones. Nobody may hold any part of that
   * reply any more. Who does not know leaves it to the garbage collector.
   */
  recycle?(data: Uint8Array): void;
  /** "not responding" was said of the server, and "OK" not yet. Who does not know leaves it out. */
  readonly unresponsive?: boolean;
  /** Fails outstanding calls with RpcClosedError and ends the connection. */
  close(): void;
}
