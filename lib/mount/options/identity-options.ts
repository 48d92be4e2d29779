/** uid=, gid=, idmap-uid=, idmap-gid=, groups= and idmapped: from text to identity rules. */
import { UserError } from '../../base/user-error.js';
import {
  type IdentityRules,
  type IdRange,
  type IdRules,
  MAX_ID,
  overlapOf,
  SAME_IDENTITY,
} from '../../vfs/caller/identity.js';
import type { MountOption } from './option-kinds.js';

type Kind = 'uid' | 'gid';

/** The form of an idmap range, as messages and help show it. */
export const RANGE_FORM = 'local:server:count';
/** The form of groups=. */
export const GROUPS_FORM = 'gid:gid';

function change(rules: IdentityRules | undefined, kind: Kind, by: Partial<IdRules>): IdentityRules {
  const before = rules ?? SAME_IDENTITY;
  return { ...before, [kind]: { ...before[kind], ...by } };
}

function number(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

/** The server knows all users of this machine by one number. */
function everybody(kind: Kind): MountOption {
  return {
    value: 'required',
    hint: 'number',
    apply(draft, text, name) {
      const value = number(text);
      if (value === undefined || value > MAX_ID)
        throw new UserError(`${name}=${text} is not a number from 0 to ${MAX_ID}.`, {
          remedy: `Write ${name}= and the number that the server knows; \`id\` shows those of a user there.`,
        });
      draft.client.identity = change(draft.client.identity, kind, { everybody: value });
    },
  };
}

function show({ local, server, count }: IdRange): string {
  return `${local}:${server}:${count}`;
}

function range(name: string, text: string): IdRange {
  const [local, server, count, more] = text.split(':').map(number);
  if (local === undefined || server === undefined || count === undefined || more !== undefined)
    throw new UserError(`${name}=${text} is not of the form ${RANGE_FORM}.`, {
      remedy: `Write three numbers, as in ${name}=0:100000:65536; several ranges are separated by "/".`,
    });
  if (count === 0 || local + count - 1 > MAX_ID || server + count - 1 > MAX_ID)
    throw new UserError(`${name}=${text}: a range has at least one id, and ends at ${MAX_ID}.`, {
      remedy: 'Correct the count.',
    });
  return { local, server, count };
}

/** All ranges count, whether they come in one option or in several. */
function ranges(kind: Kind): MountOption {
  return {
    value: 'required',
    hint: RANGE_FORM,
    apply(draft, text, name) {
      const before = draft.client.identity?.[kind].ranges ?? [];
      const all = [...before, ...text.split('/').map((part) => range(name, part))];
      const overlap = overlapOf(all);
      if (overlap !== undefined) {
        const { a, b, side } = overlap;
        const where = side === 'local' ? 'this machine' : 'the server';
        throw new UserError(`${name}: ${show(a)} and ${show(b)} both have id ${b[side]} of ${where}.`, {
          remedy: 'Each id may stand for one other only: change one of the ranges.',
        });
      }
      draft.client.identity = change(draft.client.identity, kind, { ranges: all });
    },
  };
}

/** All groups count, whether they come in one option or in several. */
const unseenGroups: MountOption = {
  value: 'required',
  hint: GROUPS_FORM,
  apply(draft, text, name) {
    const groups = text.split(':').map((part) => {
      const value = number(part);
      if (value === undefined || value > MAX_ID)
        throw new UserError(`${name}=${text} is not a list of numbers from 0 to ${MAX_ID}.`, {
          remedy: `Write the numbers of groups with ":" between them, as in ${name}=1000:2000.`,
        });
      return value;
    });
    const before = draft.client.identity ?? SAME_IDENTITY;
    const all = [...new Set([...(before.unseenGroups ?? []), ...groups])];
    draft.client.identity = { ...before, unseenGroups: all };
  },
};

/** The kernel tells callers apart, and nobody else: it has to check mode bits. */
const idmapped: MountOption = {
  value: 'none',
  apply(draft) {
    draft.client.identity = { ...(draft.client.identity ?? SAME_IDENTITY), idmapped: true };
    draft.fuse.defaultPermissions = true;
  },
};

/**
 * @throws UserError if groups= names a group without a counterpart in idmap-gid, which could never be sent; and for idmapped unless
 * all callers are one user of the server, as nobody tells who they are.
 */
export function checkIdentityOptions(rules: IdentityRules | undefined): void {
  if (rules?.idmapped === true && (rules.uid.everybody === undefined || rules.gid.everybody === undefined))
    throw new UserError(
      'idmapped takes uid= and gid=: of an idmapped mount, the kernel does not tell who asks.',
      {
        remedy:
          'Add uid= and gid= of the server’s user as whom everything is to be done, or leave idmapped out.',
      },
    );
  if (rules === undefined || rules.gid.ranges.length === 0) return;
  const has = (group: number) =>
    rules.gid.ranges.some(({ local, count }) => group >= local && group < local + count);
  const without = rules.unseenGroups?.find((group) => !has(group));
  if (without !== undefined)
    throw new UserError(`groups=${without}: group ${without} has no counterpart in idmap-gid.`, {
      remedy: 'Name groups by the numbers of this machine, and have a range for each of them.',
    });
}

export const IDENTITY_OPTIONS: readonly (readonly [name: string, option: MountOption])[] = [
  ['uid', everybody('uid')],
  ['gid', everybody('gid')],
  ['idmap-uid', ranges('uid')],
  ['idmap-gid', ranges('gid')],
  ['groups', unseenGroups],
  ['idmapped', idmapped],
];
