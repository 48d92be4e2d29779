/** The typed client of the MOUNT protocol. */

import type { Credential } from '../../rpc/auth/credential.js';
import type { Cancellation, RpcCaller } from '../../rpc/client/rpc-caller.js';
import type { Procedure } from '../../rpc/wire/procedure.js';
import { MountRefused } from './mount-refused.js';
import { DUMP, EXPORT, MNT, NULL, UMNT, UMNTALL } from './procedures.js';
import { type ExportEntry, type MountGrant, type MountListEntry, MountStatus } from './types.js';

/** Every method rejects with an RpcError when there is no proper answer. */
export class Mount3Client {
  readonly #caller: RpcCaller;
  readonly #credential: Credential;
  readonly #server: string;

  /** `server` is for messages. The client does not close `caller`. */
  constructor(caller: RpcCaller, credential: Credential, server: string) {
    this.#caller = caller;
    this.#credential = credential;
    this.#server = server;
  }

  /** Does nothing, but proves that mountd answers. */
  async null(cancellation?: Cancellation): Promise<void> {
    await this.#call(NULL, undefined, cancellation);
  }

  /** Asks for the root handle of an exported directory. Throws MountRefused when the server refuses. */
  async mount(path: Uint8Array, cancellation?: Cancellation): Promise<MountGrant> {
    const result = await this.#call(MNT, path, cancellation);
    if (result.status !== MountStatus.OK) throw new MountRefused(this.#server, path, result.status);
    return result.grant;
  }

  /** Takes this client's entry for `path` off the server's list, which is for information only. */
  async unmount(path: Uint8Array, cancellation?: Cancellation): Promise<void> {
    await this.#call(UMNT, path, cancellation);
  }

  /** Takes all of this client's entries off the server's list. */
  async unmountAll(cancellation?: Cancellation): Promise<void> {
    await this.#call(UMNTALL, undefined, cancellation);
  }

  /** The server's list of who has mounted what. */
  dump(cancellation?: Cancellation): Promise<readonly MountListEntry[]> {
    return this.#call(DUMP, undefined, cancellation);
  }

  /** The exports of the server, and the clients that may mount them. */
  exports(cancellation?: Cancellation): Promise<readonly ExportEntry[]> {
    return this.#call(EXPORT, undefined, cancellation);
  }

  #call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    cancellation: Cancellation | undefined,
  ): Promise<Result> {
    return this.#caller.call(procedure, args, { credential: this.#credential, cancellation });
  }
}
