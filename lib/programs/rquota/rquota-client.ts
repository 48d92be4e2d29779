/** The typed client of rquota. It asks version 2, and version 1 of a server that has no other. */
import type { Credential } from '../../rpc/auth/credential.js';
import type { RpcCaller } from '../../rpc/client/rpc-caller.js';
import { RpcProgramMismatchError } from '../../rpc/rpc-errors.js';
import { GETQUOTA_V1, GETQUOTA_V2 } from './procedures.js';
import { QuotaOwner, type QuotaResult } from './types.js';

/** Every method rejects with an RpcError when there is no proper answer. */
export class RquotaClient {
  readonly #caller: RpcCaller;
  readonly #credential: Credential;
  #knowsGroups = true;

  /** The client does not close `caller`. */
  constructor(caller: RpcCaller, credential: Credential) {
    this.#caller = caller;
    this.#credential = credential;
  }

  /**
   * The quota of a user or a group of the server on the file system of `path`. Undefined: a group's, of a server that speaks version
   * 1 only.
   *
   * GETQUOTA is asked, since some servers do not answer GETACTIVEQUOTA: the answer says whether the quota is enforced.
   */
  async quota(path: Uint8Array, owner: QuotaOwner, id: number): Promise<QuotaResult | undefined> {
    const options = { credential: this.#credential };
    if (this.#knowsGroups) {
      try {
        return await this.#caller.call(GETQUOTA_V2, { path, owner, id }, options);
      } catch (error) {
        if (!(error instanceof RpcProgramMismatchError)) throw error;
        this.#knowsGroups = false;
      }
    }
    if (owner === QuotaOwner.GROUP) return undefined;
    return this.#caller.call(GETQUOTA_V1, { path, uid: id }, options);
  }
}
