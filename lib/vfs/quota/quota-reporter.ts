/** Asks for the quotas that `nfs-fuse quota` shows, as the process that runs it: which those are, and as whom the server is asked. */
import { hostname } from 'node:os';
import { QuotaOwner, type QuotaResult, QuotaStatus, type RquotaClient } from '../../programs/rquota/index.js';
import { Credentials, type UserCredential } from '../caller/caller.js';
import { CallerGroups } from '../caller/caller-groups.js';
import type { Identity, Ids } from '../caller/identity.js';
import { identityFor } from '../caller/own-identity.js';
import type { ClientConfig } from '../config.js';
import { type QuotaReport, type QuotaWish, type ReportedQuota, reportedQuota } from './quota-report.js';
import type { QuotaService } from './quota-service.js';

/** The process that asks. */
export interface QuotaAsker {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

type ReporterConfig = Pick<ClientConfig, 'identity' | 'exportPath'>;
/** A quota that is asked for. */
type WantedQuota = Pick<ReportedQuota, 'kind' | 'id' | 'serverId'>;

/** The quotas of one mount. */
export class QuotaReporter {
  readonly #config: ReporterConfig;
  readonly #service: QuotaService;
  readonly #identity: Identity | undefined;
  readonly #groups: CallerGroups;
  readonly #credentials: Credentials;

  constructor(config: ReporterConfig, service: QuotaService) {
    this.#config = config;
    this.#service = service;
    this.#identity = identityFor(config.identity);
    const { unseenGroups: ofUnseen, madeElsewhere, idmapped } = config.identity;
    this.#groups = new CallerGroups({ ofUnseen, madeElsewhere, idmapped });
    this.#credentials = new Credentials({ machineName: hostname(), now: () => performance.now() });
  }

  /**
   * The quota that is wanted, by default those of the asker and of the groups that go along with its calls. It is the asker who asks the
   * server.
   * @throws QuotaServiceError
   */
  async report({ pid, uid, gid }: QuotaAsker, wish: QuotaWish | undefined): Promise<QuotaReport> {
    const local: Ids = { uid, gid, groups: this.#groups.of(pid, uid, gid) };
    const ids = this.#identity === undefined ? local : this.#identity.idsOf(local);
    if (ids === undefined) return { unmapped: { kind: 'user', id: uid } };
    const credential = this.#credentials.of(ids.uid, ids.gid, ids.groups);
    const wished = wish && this.#onServer(wish);
    if (wish !== undefined && wished === undefined) return { unmapped: wish };
    const wanted = wished === undefined ? this.#concerning(uid, credential) : [wished];
    const quotas = await this.#service.ask(credential, (client) =>
      Promise.all(wanted.map(async (one) => reported(one, await this.#ask(client, one)))),
    );
    return { quotas };
  }

  /** The user comes first. */
  #concerning(id: number, { uid, gid, groups }: UserCredential): WantedQuota[] {
    const toLocal = (group: number) => this.#identity?.gid.toLocal(group) ?? group;
    return [
      { kind: 'user', id, serverId: uid },
      ...[gid, ...groups].map(
        (group): WantedQuota => ({ kind: 'group', id: toLocal(group), serverId: group }),
      ),
    ];
  }

  /** Undefined: the server has none. */
  #onServer({ kind, id }: QuotaWish): WantedQuota | undefined {
    const ids = kind === 'user' ? this.#identity?.uid : this.#identity?.gid;
    const serverId = ids === undefined ? id : ids.toServer(id);
    return serverId === undefined ? undefined : { kind, id, serverId };
  }

  #ask(client: RquotaClient, { kind, serverId }: WantedQuota): Promise<QuotaResult | undefined> {
    const owner = kind === 'user' ? QuotaOwner.USER : QuotaOwner.GROUP;
    return client.quota(this.#config.exportPath, owner, serverId);
  }
}

function reported(whose: WantedQuota, answer: QuotaResult | undefined): ReportedQuota {
  if (answer === undefined) return { ...whose, result: 'unknown' };
  if (answer.status === QuotaStatus.OK)
    return { ...whose, result: 'quota', ...reportedQuota(answer.quota, Date.now()) };
  return { ...whose, result: answer.status === QuotaStatus.EPERM ? 'refused' : 'none' };
}
