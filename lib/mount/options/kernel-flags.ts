/**
 * `suid` and `dev`: set-user-ID programs and device nodes of the server take effect on this machine. Linux's NFS client
 * allows both by default. Here only root of the machine gets them, and only on explicit request.
 */
import { type KernelFlag, type Rights, readRights } from '../../fuse/index.js';
import type { MountRequest } from './mount-options.js';
import { splitOptionList } from './option-list.js';

/** Flags that are on by default, and the options that clear them. */
const LIFTED_BY = { nosuid: 'suid', nodev: 'dev' } as const satisfies Partial<Record<KernelFlag, string>>;
/** mount.fuse3 appends these options to those that it was given, unless these forbid it. */
const ADDED_BY_MOUNT_FUSE = ['suid', 'dev'];

/**
 * The options that mount(8) gave to mount.fuse3, without `dev` and `suid`, which mount.fuse3 adds to every mount of root.
 * Some versions of mount(8) do not tell whether the user asked for these two, so `allow_dev` and `allow_suid` ask for them.
 */
export function withoutHelpersDefaults(optionTexts: readonly string[]): string[] {
  const last = optionTexts.at(-1);
  if (last === undefined) return [];
  const names = last.split(',');
  for (const added of ADDED_BY_MOUNT_FUSE) if (names.at(-1) === added) names.pop();
  const others = optionTexts.slice(0, -1);
  return names.length === 0 ? others : [...others, names.join(',')];
}

/** `request` with `suid` and `dev` if this user may have them; otherwise without them, and with a note that says so. */
export function grantFlags(
  request: MountRequest,
  kernelMounts = true,
  rights: Rights = readRights(),
): MountRequest {
  const asked = Object.entries(LIFTED_BY).filter(
    ([flag]) => request.fuse.flags[flag as KernelFlag] === false,
  );
  if (asked.length === 0) return request;
  const isRoot = process.geteuid?.() === 0;
  if (kernelMounts && isRoot && rights.mayMount && rights.initialUserNamespace) return request;
  const refused = new Set(asked.map(([flag]) => flag));
  const flags = Object.fromEntries(Object.entries(request.fuse.flags).filter(([flag]) => !refused.has(flag)));
  const names = asked.map(([, option]) => option).join(' and ');
  const note =
    `The mount is ${[...refused].join(',')}: ${names} ${asked.length > 1 ? 'are' : 'is'} for root of the machine ` +
    'only, with --transport kernel.';
  return { ...request, fuse: { ...request.fuse, flags }, notes: [...request.notes, note] };
}

/** The options in `optionTexts` one by one, each written as `name` or `name=value`. */
export function optionsOf(optionTexts: readonly string[]): string[] {
  return optionTexts
    .flatMap(splitOptionList)
    .map(({ name, value }) => (value === undefined ? name : `${name}=${value.replace(/[\\,"]/g, '\\$&')}`));
}
