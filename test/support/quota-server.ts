/** A quota service (rquotad) in this process, on a port of 127.0.0.1: a test says what it answers, and sees what it is asked. */
import {
  type Quota,
  QuotaOwner,
  type QuotaResult,
  QuotaStatus,
  quotaProcedures,
  RQUOTA_V1,
  RQUOTA_V2,
} from '../../lib/programs/rquota/index.js';
import { handle, RpcServer, type ServerCall } from '../../lib/rpc/index.js';

export class QuotaServer {
  /** "user 1000 of /export, asked by 1000". */
  readonly questions: string[] = [];
  /** By "user 1000" or "group 100": a quota, or that it is not told. Of all others there is none. */
  readonly quotas = new Map<string, Quota | 'refused'>();
  readonly #rpc = new RpcServer();
  #port = 0;

  /** With version 2, or with 1 alone; on a free port unless another is wanted. */
  static async start(hasGroups = true, port = 0): Promise<QuotaServer> {
    const server = new QuotaServer();
    await server.#listen(hasGroups, port);
    return server;
  }

  private constructor() {}

  get port(): number {
    return this.#port;
  }

  async #listen(hasGroups: boolean, port: number): Promise<void> {
    const { GETQUOTA_V1, GETQUOTA_V2 } = quotaProcedures;
    this.#rpc.register(RQUOTA_V1, [
      handle(GETQUOTA_V1, ({ path, uid }, call) => this.#answer(`user ${uid}`, path, call)),
    ]);
    const named = (owner: QuotaOwner) => (owner === QuotaOwner.USER ? 'user' : 'group');
    if (hasGroups)
      this.#rpc.register(RQUOTA_V2, [
        handle(GETQUOTA_V2, ({ path, owner, id }, call) => this.#answer(`${named(owner)} ${id}`, path, call)),
      ]);
    this.#port = (await this.#rpc.listen({ host: '127.0.0.1', port })).port;
  }

  #answer(whose: string, path: Uint8Array, { credential }: ServerCall): QuotaResult {
    this.questions.push(`${whose} of ${Buffer.from(path)}, asked by ${credential?.uid}`);
    const quota = this.quotas.get(whose);
    if (quota === undefined) return { status: QuotaStatus.NOQUOTA };
    return quota === 'refused' ? { status: QuotaStatus.EPERM } : { status: QuotaStatus.OK, quota };
  }

  close(): Promise<void> {
    return this.#rpc.close();
  }
}
