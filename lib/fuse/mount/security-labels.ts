/**
 * The labels of SELinux that a mount gets by options of mount(8): which options there are, how the kernel reads them, and
 * whether this kernel has SELinux. Owns no texts.
 */
import { readFileSync } from 'node:fs';

const LABEL_OPTIONS = ['context', 'fscontext', 'defcontext', 'rootcontext'] as const;
export type LabelOption = (typeof LABEL_OPTIONS)[number];
/** SELinux contexts (user:role:type:level) by the option that names them, without quotes around them or within. */
export type SecurityLabels = Readonly<Partial<Record<LabelOption, string>>>;

/** The options that are set, in the order of mount(8). */
export function labelNames(labels: SecurityLabels): LabelOption[] {
  return LABEL_OPTIONS.filter((name) => labels[name] !== undefined);
}

/**
 * Words for the data of mount(2). Between quotes, as mount(8) writes them: a level such as s0:c1,c2 has commas, and the kernel
 * takes the quotes away (Linux selinux_sb_eat_lsm_opts).
 */
export function labelWords(labels: SecurityLabels): string[] {
  return labelNames(labels).map((name) => `${name}="${labels[name]}"`);
}

/**
 * Whether SELinux is enabled in this kernel: it then has the file system through which programs ask SELinux. Undefined: that
 * cannot be found out.
 */
export function selinuxEnabled(): boolean | undefined {
  try {
    return /^nodev\s+selinuxfs$/m.test(readFileSync('/proc/filesystems', 'latin1'));
  } catch {
    return undefined;
  }
}
