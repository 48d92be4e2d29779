/** Results of every procedure that the product calls, made by chance and written with the product's own encoders. */
import { MOUNT_PROGRAM, MountStatus, mountProcedures as mount } from '../../../lib/programs/mount3/index.js';
import { portmapProcedures as portmap } from '../../../lib/programs/portmap/index.js';
import {
  AcceptStat,
  encodeAcceptedHeader,
  encodeFailure,
  type ReplyFailure,
} from '../../../lib/rpc/wire/message.js';
import { type AnyCase, cases, define } from '../../nfs3/support/cases.js';
import type { Generator } from '../../nfs3/support/generator.js';
import { lockCases } from '../../nlm4/support/lock-cases.js';
import { quotaCases } from '../../rquota/support/quota-cases.js';
import type { SeededRandom } from '../../support/seeded-random.js';
import { FieldWriter } from './fields.js';

const none = () => undefined;
const text = (g: Generator) => g.bytes(255).toString('latin1').slice(0, 255);
const mapping = (g: Generator) => ({
  program: g.uint32(),
  version: g.uint32(),
  protocol: g.uint32(),
  port: g.below(65536),
});

/** NFS, MOUNT, NLM, rquota, and the port mapper. */
export const everyCase: readonly AnyCase[] = [
  ...cases,
  ...lockCases,
  ...quotaCases,
  define(
    mount.MNT,
    (g) => g.bytes(1024),
    (g) => {
      const flavors = g.list(6, () => g.uint32());
      const refusal = { status: g.pick([MountStatus.PERM, MountStatus.ACCES, MountStatus.SERVERFAULT]) };
      return g.bool() ? { status: MountStatus.OK, grant: { handle: g.handle(), flavors } } : refusal;
    },
  ),
  define(mount.DUMP, none, (g) => g.list(9, () => ({ hostname: g.bytes(255), directory: g.bytes(1024) }))),
  define(mount.EXPORT, none, (g) =>
    g.list(9, () => ({ directory: g.bytes(1024), groups: g.list(5, () => g.bytes(255)) })),
  ),
  define(portmap.GETPORT, mapping, (g) => g.below(65536)),
  define(portmap.DUMP, none, (g) => g.list(9, () => mapping(g))),
  define(
    portmap.GETADDR_V4,
    (g) => ({ program: g.uint32(), version: g.uint32(), netid: text(g), address: text(g), owner: text(g) }),
    (g) => text(g),
  ),
];

/** The fields of a whole reply to call `xid`: mostly a success with its result. */
export function replyFields(one: AnyCase, xid: number, g: Generator, random: SeededRandom): FieldWriter {
  const writer = new FieldWriter();
  if (random.oneIn(12)) {
    encodeFailure(writer, xid, failure(random));
    return writer;
  }
  encodeAcceptedHeader(writer, xid, AcceptStat.SUCCESS);
  one.procedure.encodeResult(writer, one.result(g));
  return writer;
}

function failure(random: SeededRandom): ReplyFailure {
  const [low, high] = [random.below(5), random.below(5)];
  return random.pick<ReplyFailure>([
    { kind: 'unaccepted', stat: random.pick(Object.values(AcceptStat).slice(1)), low, high },
    { kind: 'rpc-mismatch', low, high },
    { kind: 'auth-error', authStat: random.below(15) },
  ]);
}

/** Which program a case belongs to, for messages. */
export function nameOf({ procedure }: AnyCase): string {
  const { program, name } = procedure;
  return `${program === MOUNT_PROGRAM ? 'MOUNT' : program.name} ${name}`;
}
