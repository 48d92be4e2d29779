/** A case for each procedure of rquota: how to make arguments and results of it by chance. */
import { QuotaOwner, QuotaStatus, quotaProcedures as rquota } from '../../../lib/programs/rquota/index.js';
import { type AnyCase, define } from '../../nfs3/support/cases.js';
import type { Generator } from '../../nfs3/support/generator.js';

const user = (g: Generator) => ({ path: g.bytes(1024), uid: g.uint32() });
const owner = (g: Generator) => ({
  path: g.bytes(1024),
  owner: g.pick(Object.values(QuotaOwner)),
  id: g.uint32(),
});
const use = (g: Generator) => ({
  used: g.uint32(),
  softLimit: g.uint32(),
  hardLimit: g.uint32(),
  timeLeft: g.uint32() | 0,
});
const result = (g: Generator) => {
  const quota = { blockSize: 1 + g.below(2 ** 20), active: g.bool(), blocks: use(g), files: use(g) };
  return g.either(
    { status: QuotaStatus.OK, quota },
    { status: g.pick([QuotaStatus.NOQUOTA, QuotaStatus.EPERM]) },
  );
};

/** Version 1, and then version 2. */
export const quotaCases: readonly AnyCase[] = [
  define(rquota.GETQUOTA_V1, user, result),
  define(rquota.GETACTIVEQUOTA_V1, user, result),
  define(rquota.GETQUOTA_V2, owner, result),
  define(rquota.GETACTIVEQUOTA_V2, owner, result),
];
