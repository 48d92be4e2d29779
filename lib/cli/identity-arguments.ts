/** `--idmap-uid`, `--idmap-gid` and `--groups`: the mount options of these names, as arguments of their own. */
import type { Argv } from 'yargs';
import { GROUPS_FORM, RANGE_FORM } from '../mount/options/identity-options.js';

export interface IdentityArguments {
  readonly 'idmap-uid': string[] | undefined;
  readonly 'idmap-gid': string[] | undefined;
  readonly groups: string[] | undefined;
}

/** Adds these arguments to a command that mounts. */
export function withIdentityArguments<Arguments>(args: Argv<Arguments>): Argv<Arguments & IdentityArguments> {
  const repeatable = { type: 'string', array: true, nargs: 1, requiresArg: true } as const;
  return args
    .option('idmap-uid', {
      ...repeatable,
      describe: `Which users of this machine stand for which of the server, as ${RANGE_FORM}; may be repeated`,
    })
    .option('idmap-gid', { ...repeatable, describe: 'The same for groups' })
    .option('groups', {
      ...repeatable,
      describe: `Groups of callers whose own cannot be read (other PID namespaces), as ${GROUPS_FORM}; may be repeated`,
    });
}

/** These arguments as texts of `-o`. */
export function identityOptionTexts(args: IdentityArguments): string[] {
  return (['idmap-uid', 'idmap-gid', 'groups'] as const).flatMap((name) =>
    (args[name] ?? []).map((value) => `${name}=${value.replace(/[\\",]/g, '\\$&')}`),
  );
}
