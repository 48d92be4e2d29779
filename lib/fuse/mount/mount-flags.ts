/**
 * The flags of a mount that the kernel itself obeys, by their names in mount(8) and mountinfo: their bits for mount(2),
 * and how the user's wishes change the flags that are set.
 */

/** Bits of mount(2). */
export const KERNEL_FLAGS = {
  ro: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  sync: 0x10,
  dirsync: 0x80,
  nosymfollow: 0x100,
  noatime: 0x400,
  nodiratime: 0x800,
  relatime: 1 << 21,
  strictatime: 1 << 24,
  lazytime: 1 << 25,
} as const;

export type KernelFlag = keyof typeof KERNEL_FLAGS;
/** The flags that were asked for, ordered by the last mention of each. */
export type FlagWishes = Readonly<Partial<Record<KernelFlag, boolean>>>;

/** One of these holds; mountinfo does not show strictatime. */
const ACCESS_TIMES: readonly KernelFlag[] = ['noatime', 'relatime', 'strictatime'];
/** The kernel's choice where nothing is asked for. */
const DEFAULT_ACCESS_TIMES: KernelFlag = 'relatime';
/** Every mount of ours has these, unless root of the machine asks for `suid` or `dev`. */
export const SAFE_FLAGS: readonly KernelFlag[] = ['nosuid', 'nodev'];

/** The flags of a mount as mountinfo shows them, of the mount itself and of its file system. */
export function flagsOf({ options, superOptions }: { options: string; superOptions: string }): KernelFlag[] {
  const shown = new Set([...options.split(','), ...superOptions.split(',')]);
  const flags = flagNames().filter((flag) => shown.has(flag));
  return flags.some((flag) => ACCESS_TIMES.includes(flag)) ? flags : [...flags, 'strictatime'];
}

/** `present`, changed as asked for. */
export function withWishes(present: readonly KernelFlag[], wishes: FlagWishes): KernelFlag[] {
  const flags = new Set(present);
  for (const [name, wanted] of Object.entries(wishes)) {
    const flag = name as KernelFlag;
    if (!ACCESS_TIMES.includes(flag)) {
      if (wanted) flags.add(flag);
      else flags.delete(flag);
      continue;
    }
    if (!wanted && !flags.has(flag)) continue;
    for (const other of ACCESS_TIMES) flags.delete(other);
    flags.add(wanted ? flag : flag === 'relatime' ? 'strictatime' : DEFAULT_ACCESS_TIMES);
  }
  return flagNames().filter((flag) => flags.has(flag));
}

/** For mount(2). */
export function bitsOf(flags: readonly KernelFlag[]): number {
  return flags.reduce((bits, flag) => bits | KERNEL_FLAGS[flag], 0);
}

function flagNames(): KernelFlag[] {
  return Object.keys(KERNEL_FLAGS) as KernelFlag[];
}
