/** Finds the security module or filter that may refuse a mount(2) although the capability allows it. */
import { readFileSync } from 'node:fs';
import type { Rights } from '../fuse/index.js';

/**
 * The options for the container engine, as a sentence. Undefined: no module or filter is active. `label`: the label of this
 * process in the security module.
 */
export function securityHint(rights: Pick<Rights, 'filtered'>, label = securityLabel()): string | undefined {
  const options: string[] = [];
  // An SELinux label has at least three colons; an AppArmor one reads "docker-default (enforce)".
  if (/^[^\s:]+:[^\s:]+:[^\s:]+:/.test(label)) options.push(`label=disable (SELinux: ${label})`);
  else if (label !== '' && !label.startsWith('unconfined') && !label.endsWith('(complain)'))
    options.push(`apparmor=unconfined (AppArmor: ${label})`);
  if (rights.filtered) options.push('seccomp=unconfined (a seccomp filter is at work)');
  if (options.length === 0) return undefined;
  const kubernetes = 'Kubernetes: securityContext.appArmorProfile and seccompProfile of type Unconfined';
  return `Pass ${options.map((option) => `--security-opt ${option}`).join(' and ')} to podman or docker (${kubernetes}).`;
}

function securityLabel(): string {
  for (const path of ['/proc/self/attr/apparmor/current', '/proc/self/attr/current']) {
    try {
      const label = readFileSync(path, 'latin1').replace(/[\0\s]+$/, '');
      if (label !== '') return label;
    } catch {
      // There is no such module, or it shows no label.
    }
  }
  return '';
}
