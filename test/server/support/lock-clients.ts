/** Owners of locks that call the embedded server's lock manager. */

import type { Test } from 'tap';
import type { FileHandle } from '../../../lib/programs/nfs3/index.js';
import {
  type LockArguments,
  type LockHolder,
  LockStatus,
  lockStatusName,
  lockProcedures as nlm,
} from '../../../lib/programs/nlm4/index.js';
import type { RpcClient } from '../../../lib/rpc/client/client.js';
import type { EmbeddedServerOptions } from '../../../lib/server/index.js';
import { made, ROOT, rig } from './rig.js';

export interface LockOptions {
  readonly offset?: bigint;
  readonly length?: bigint;
  readonly shared?: boolean;
  readonly block?: boolean;
  readonly reclaim?: boolean;
  /** LOCK in place of NM_LOCK. */
  readonly monitored?: boolean;
}

let cookies = 0;

export class LockClient {
  constructor(
    readonly client: RpcClient,
    readonly file: FileHandle,
    readonly svid: number,
    readonly callerName = 'tester',
    readonly ownerHandle = `${svid}@tester`,
  ) {}

  arguments(options: LockOptions = {}): LockArguments {
    const { offset = 0n, length = 0n, shared = false, block = false, reclaim = false } = options;
    const { callerName, ownerHandle, svid, file } = this;
    const lock = { callerName, ownerHandle, svid, handle: file, offset, length };
    cookies += 1;
    return { cookie: `cookie ${cookies}`, block, exclusive: !shared, lock, reclaim, state: 1 };
  }

  async #status<Args extends { readonly cookie: string }>(
    procedure: Parameters<typeof this.client.call<Args, { cookie: string; status: LockStatus }>>[0],
    args: Args,
  ): Promise<string> {
    const result = await this.client.call(procedure, args, { credential: ROOT });
    if (result.cookie !== args.cookie) throw new Error(`the cookie came back as ${result.cookie}`);
    return lockStatusName(result.status).replace('NLM4_', '');
  }

  lock(options: LockOptions = {}): Promise<string> {
    return this.#status(options.monitored === true ? nlm.LOCK : nlm.NM_LOCK, this.arguments(options));
  }

  /** LOCK that waits. */
  wait(options: LockOptions = {}): Promise<string> {
    return this.lock({ ...options, block: true });
  }

  /** CANCEL of a LOCK that waits. */
  cancel(options: LockOptions = {}): Promise<string> {
    return this.#status(nlm.CANCEL, this.arguments({ ...options, block: true }));
  }

  unlock(options: LockOptions = {}): Promise<string> {
    return this.#status(nlm.UNLOCK, this.arguments(options));
  }

  /** The status of TEST, or the lock that stands against it. */
  async test(options: LockOptions = {}): Promise<string | LockHolder> {
    const result = await this.client.call(nlm.TEST, this.arguments(options), { credential: ROOT });
    return result.status === LockStatus.DENIED
      ? result.holder
      : lockStatusName(result.status).replace('NLM4_', '');
  }
}

/** A server with a file, and two owners. */
export async function lockRig(t: Test, options: Partial<EmbeddedServerOptions> = {}) {
  const r = await rig(t, options);
  const file = made(await r.create('f', { mode: 0o600 }));
  const owner = (svid: number, handle = file): LockClient => new LockClient(r.client, handle, svid);
  return { r, file, owner, a: owner(1), b: owner(2) };
}
