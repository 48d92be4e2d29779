/**
 * context=, fscontext=, defcontext= and rootcontext= of mount(8): the labels that SELinux gives the mount. The kernel judges the
 * contexts; here are the forms that it could not read, and the combinations that it refuses.
 */
import { UserError } from '../../base/user-error.js';
import type { LabelOption, SecurityLabels } from '../../fuse/index.js';
import type { MountOption } from './option-kinds.js';

/** The manual page is made of this table, without the system calls of lib/fuse. */
const NAMES: Readonly<Record<LabelOption, true>> = {
  context: true,
  fscontext: true,
  defcontext: true,
  rootcontext: true,
};

/** The form of a context, as messages show it. */
const CONTEXT_FORM = 'user:role:type:level';
const EXAMPLE = 'system_u:object_r:container_file_t:s0:c1,c2';
const QUOTED = 'a comma ends an option, unless quotes are around it that the shell leaves in place';

function label(option: LabelOption): MountOption {
  return {
    value: 'required',
    hint: CONTEXT_FORM,
    apply(draft, context) {
      if (option === 'rootcontext' && context === '@target')
        throw new UserError(
          'rootcontext=@target is for mount(8), which puts the label of the mount point in its place.',
          { remedy: 'Mount through mount(8), or write the context that "ls -dZ" shows.' },
        );
      // A level is missing where the policy has none (selinux(8)).
      if (!/^[^":\p{Cc}]+(:[^":\p{Cc}]+){2,}$/u.test(context))
        throw new UserError(`${option}=${context} is no SELinux context.`, {
          remedy: `Write it as "ls -Z" shows one: -o '${option}="${EXAMPLE}"'.`,
        });
      draft.fuse.labels = { ...draft.fuse.labels, [option]: context };
    },
  };
}

export const SELINUX_OPTIONS: readonly (readonly [name: string, option: MountOption])[] = Object.keys(
  NAMES,
).map((name) => [name, label(name as LabelOption)]);

/** The remedy for an unknown option that is the rest of a context without quotes. Undefined: it is not one. */
export function restOfContext(name: string, before: string | undefined): string | undefined {
  const isCategory = /^c\d+(\.c\d+)?$/.test(name);
  if (!isCategory || before === undefined || !Object.hasOwn(NAMES, before)) return undefined;
  return `It looks like the rest of ${before}=: ${QUOTED}, as in -o '${before}="${EXAMPLE}"'.`;
}

/** @throws UserError for labels that the kernel refuses together (Linux selinux_add_opt) */
export function checkLabels({ context, defcontext }: SecurityLabels): void {
  if (context !== undefined && defcontext !== undefined)
    throw new UserError('context= and defcontext= exclude each other.', {
      remedy: 'Leave defcontext= out: with context= every file has that label.',
    });
}
