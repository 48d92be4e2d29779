/**
 * `suid` and `dev`: set-user-ID programs and device nodes of the server take effect on this machine. Linux's NFS client
 * has both by default; here they take root of the machine, and a request in so many words.
 */
import { type KernelFlag, type Rights, readRights } from '../../fuse/index.js';
import type { MountRequest } from './mount-options.js';
import { splitOptionList } from './option-list.js';

/** Flags, and the options that lift them. */
const LIFTED_BY = { nosuid: 'suid', nodev: 'dev' } as const satisfies Partial<Record<KernelFlag, string>>;
/** Options that mount.fuse3 adds behind those that it was given, unless these forbid it. */
const ADDED_BY_MOUNT_FUSE = ['suid', 'dev'];

/**
 * The options that mount.fuse3 was given by mount(8), out of those that it hands over: it adds `dev` and `suid` to every
 * mount of root. Some versions of mount(8) do not even tell whether these were asked for, so there are `allow_dev` and
 * `allow_suid` to say it.
 */
export function withoutHelpersDefaults(optionTexts: readonly string[]): string[] {
  const last = optionTexts.at(-1);
  if (last === undefined) return [];
  const names = last.split(',');
  for (const added of ADDED_BY_MOUNT_FUSE) if (names.at(-1) === added) names.pop();
  const others = optionTexts.slice(0, -1);
  return names.length === 0 ? others : [...others, names.join(',')];
}

/** `request`, with `suid` and `dev` only where they are to be had; otherwise with a line that says so. */
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

/** The names of `optionTexts` with their values, as they were written. */
export function optionsOf(optionTexts: readonly string[]): string[] {
  return optionTexts
    .flatMap(splitOptionList)
    .map(({ name, value }) => (value === undefined ? name : `${name}=${value.replace(/[\\,"]/g, '\\$&')}`));
}
