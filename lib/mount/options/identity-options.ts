/**
 * uid=, gid=, idmap-uid=, idmap-gid= and groups=, and the last three as arguments of their own: from text to identity rules.
 */
import type { Argv } from 'yargs';
import { UserError } from '../../base/user-error.js';
import {
  type IdentityRules,
  type IdRange,
  type IdRules,
  MAX_ID,
  overlapOf,
  SAME_IDENTITY,
} from '../../vfs/caller/identity.js';
import type { MountOption } from './mount-option-table.js';

type Kind = 'uid' | 'gid';

const HINT = 'local:server:count';
const GROUPS_HINT = 'gid:gid';

function change(rules: IdentityRules | undefined, kind: Kind, by: Partial<IdRules>): IdentityRules {
  const before = rules ?? SAME_IDENTITY;
  return { ...before, [kind]: { ...before[kind], ...by } };
}

function number(text: string): number | undefined {
  return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
}

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
    throw new UserError(`${name}=${text} is not of the form ${HINT}.`, {
      remedy: `Write three numbers, as in ${name}=0:100000:65536; several ranges are separated by "/".`,
    });
  if (count === 0 || local + count - 1 > MAX_ID || server + count - 1 > MAX_ID)
    throw new UserError(`${name}=${text}: a range has at least one id, and ends at ${MAX_ID}.`, {
      remedy: 'Correct the count.',
    });
  return { local, server, count };
}

/** Ranges add up, whether they come in one option or several. */
function ranges(kind: Kind): MountOption {
  return {
    value: 'required',
    hint: HINT,
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

/** Groups add up, whether they come in one option or several. */
const unseenGroups: MountOption = {
  value: 'required',
  hint: GROUPS_HINT,
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

/** @throws UserError where groups= names one that idmap-gid gives no counterpart: it could never be sent. */
export function checkIdentityOptions(rules: IdentityRules | undefined): void {
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
];

export interface IdentityArguments {
  readonly 'idmap-uid': string[] | undefined;
  readonly 'idmap-gid': string[] | undefined;
  readonly groups: string[] | undefined;
}

/** `--idmap-uid`, `--idmap-gid` and `--groups`, for commands that mount. */
export function withIdentityArguments<Arguments>(args: Argv<Arguments>): Argv<Arguments & IdentityArguments> {
  const repeatable = { type: 'string', array: true, nargs: 1, requiresArg: true } as const;
  return args
    .option('idmap-uid', {
      ...repeatable,
      describe: `Which users of this machine stand for which of the server, as ${HINT}; may be repeated`,
    })
    .option('idmap-gid', { ...repeatable, describe: 'The same for groups' })
    .option('groups', {
      ...repeatable,
      describe: `Groups of callers whose own cannot be read (other PID namespaces), as ${GROUPS_HINT}; may be repeated`,
    });
}

/** These arguments as texts of `-o`. */
export function identityOptionTexts(args: IdentityArguments): string[] {
  return (['idmap-uid', 'idmap-gid', 'groups'] as const).flatMap((name) =>
    (args[name] ?? []).map((value) => `${name}=${value.replace(/[\\",]/g, '\\$&')}`),
  );
}
