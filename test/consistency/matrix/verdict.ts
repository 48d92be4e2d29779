/** Where a mount shows something older than Linux's own client, in words that a reader can act on. */
import type { PassRecord } from './linux-record.js';
import type { Outcomes } from './program.js';

export interface Verdict {
  readonly combinations: number;
  /** In which the mount differs from a local directory. */
  readonly different: number;
  /** In which Linux's client does. */
  readonly linuxDifferent: number;
  /** In which only Linux's client does. */
  readonly better: number;
  /** In which only the mount does, `prepare/change/act: what is right, what the mount shows`, sorted by changes. */
  readonly staler: readonly string[];
}

/** Sorts the change before the preparation: what fails for one reason stands together. */
function family(name: string): string {
  const [prepare = '', change = '', act = ''] = name.split('/');
  return [change, act, prepare].join('/');
}

export function judge(truth: Outcomes, ours: Outcomes, { late }: PassRecord): Verdict {
  const names = [...truth.keys()];
  const different = new Set(names.filter((name) => ours.get(name) !== truth.get(name)));
  const line = (name: string) =>
    `${name}: a local directory and Linux: ${truth.get(name)}; here: ${ours.get(name)}`;
  const linuxLate = names.filter((name) => late.has(name));
  const staler = [...different]
    .filter((name) => !late.has(name))
    .sort((one, other) => (family(one) < family(other) ? -1 : 1));
  return {
    combinations: names.length,
    different: different.size,
    linuxDifferent: linuxLate.length,
    better: linuxLate.filter((name) => !different.has(name)).length,
    staler: staler.map(line),
  };
}
