/** `nfs-fuse quota`: shows how much a user or a group stores on the server of a mount, and may store. */
import type { Argv } from 'yargs';
import { shownJson } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import type { MountEntry } from '../../fuse/index.js';
import type { QuotaAnswer } from '../../mount/reach/link-protocol.js';
import { reachMount } from '../../mount/reach/mount-control.js';
import { MAX_ID } from '../../vfs/caller/identity.js';
import type { QuotaWish, ReportedQuota } from '../../vfs/quota/quota-report.js';
import { type Command, withMountpoint } from '../command.js';
import { quotaText } from '../quota-text.js';
import { cannotBeAsked, entryAt } from '../stats/asking.js';

interface QuotaCommandArguments {
  readonly mountpoint: string;
  readonly user: string | undefined;
  readonly group: string | undefined;
  readonly json: boolean | undefined;
}

export const quotaCommand: Command<QuotaCommandArguments> = {
  syntax: 'quota <mountpoint>',
  describe: 'Show how much a user stores on the server of a mount, and may store',
  arguments: (args: Argv) =>
    withMountpoint(args)
      .option('user', {
        describe: 'The quota of this user, by number; servers tell root alone of others',
        type: 'string',
        requiresArg: true,
      })
      .option('group', { describe: 'The quota of this group, by number', type: 'string', requiresArg: true })
      .option('json', { describe: 'Print JSON', type: 'boolean' }),
  run: async (args, output) => {
    const wish = wishOf(args);
    const entry = await entryAt(args.mountpoint);
    const quotas = await ask(entry, args.mountpoint, wish);
    const source = entry.source.toString();
    const mountpoint = entry.mountpoint.toString();
    if (args.json === true) output.print(`${shownJson({ source, mountpoint, quotas }, 2)}\n`);
    else output.print(quotaText(source, quotas, wish !== undefined));
    const [first] = quotas;
    return first?.result === 'refused' || first?.result === 'unknown' ? 1 : 0;
  },
};

/** Undefined: the quotas of the caller and its groups. */
function wishOf({ user, group }: QuotaCommandArguments): QuotaWish | undefined {
  if (user !== undefined && group !== undefined)
    throw new UserError('--user and --group ask for one quota each.', { remedy: 'Leave out one of them.' });
  if (user !== undefined) return { kind: 'user', id: idIn('user', user) };
  return group === undefined ? undefined : { kind: 'group', id: idIn('group', group) };
}

function idIn(kind: 'user' | 'group', text: string): number {
  const id = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (id <= MAX_ID) return id;
  throw new UserError(`--${kind}=${text} is not the number of a ${kind}.`, {
    remedy: `Write its number, as \`id\` or \`getent\` show it: --${kind} 1000.`,
  });
}

/** The quota of the user comes first. */
async function ask(
  entry: MountEntry,
  path: string,
  wish: QuotaWish | undefined,
): Promise<readonly ReportedQuota[]> {
  const control = await reachMount(entry);
  let answer: QuotaAnswer | undefined;
  try {
    answer = await control?.quotas(wish);
  } finally {
    control?.close();
  }
  if (answer === undefined)
    throw new UserError(cannotBeAsked(path), {
      remedy:
        'It has ended, is stopped, or is of a version without quotas (nfs-fuse restart has this one go on), or it is another ' +
        "user's: ask as root, or as the user who has mounted it.",
    });
  if ('failed' in answer) throw new UserError(answer.failed, { remedy: answer.remedy });
  if ('quotas' in answer) return answer.quotas;
  const { kind, id } = answer.unmapped;
  throw new UserError(`The ${kind} ${id} has no counterpart on the server.`, {
    remedy: `The mount option idmap-${kind === 'user' ? 'uid' : 'gid'}= says which numbers have one; nfs-fuse stats shows it.`,
  });
}
