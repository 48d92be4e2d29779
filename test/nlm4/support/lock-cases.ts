/** A case for each procedure of NLM: how to make arguments and results of it by chance. */
import {
  LockStatus,
  MAX_LOCK_NAME,
  lockProcedures as nlm,
  type RemoteLock,
} from '../../../lib/programs/nlm4/index.js';
import { type AnyCase, define } from '../../nfs3/support/cases.js';
import type { Generator } from '../../nfs3/support/generator.js';

const text = (g: Generator) => g.bytes(MAX_LOCK_NAME).toString('latin1');
const status = (g: Generator) => g.pick(Object.values(LockStatus));
const signed = (g: Generator) => g.uint32() | 0;

function lock(g: Generator): RemoteLock {
  return {
    callerName: text(g),
    handle: g.handle(),
    ownerHandle: text(g),
    svid: signed(g),
    offset: g.uint64(),
    length: g.pick([0n, 1n, g.uint64()]),
  };
}

const test = (g: Generator) => ({ cookie: text(g), exclusive: g.bool(), lock: lock(g) });
const cancel = (g: Generator) => ({ ...test(g), block: g.bool() });
const take = (g: Generator) => ({ ...cancel(g), reclaim: g.bool(), state: signed(g) });
const result = (g: Generator) => ({ cookie: text(g), status: status(g) });

/** In the order of their numbers. */
export const lockCases: readonly AnyCase[] = [
  define(
    nlm.NULL,
    () => undefined,
    () => undefined,
  ),
  define(nlm.TEST, test, (g) => {
    const { cookie, status } = result(g);
    if (status !== LockStatus.DENIED) return { cookie, status };
    const { svid, ownerHandle, offset, length } = lock(g);
    return { cookie, status, holder: { exclusive: g.bool(), svid, ownerHandle, offset, length } };
  }),
  define(nlm.LOCK, take, result),
  define(nlm.CANCEL, cancel, result),
  define(nlm.UNLOCK, (g) => ({ cookie: text(g), lock: lock(g) }), result),
  define(nlm.GRANTED, test, result),
  define(nlm.GRANTED_MSG, test, () => undefined),
  define(nlm.GRANTED_RES, result, () => undefined),
  define(nlm.NM_LOCK, take, result),
];
