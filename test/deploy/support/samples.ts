/** The text format of Prometheus as a test reads it: the samples, and the labels that each metric has. */

export interface ReadSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** @throws Error for a line that is neither a comment nor a sample */
export function samplesIn(text: string): ReadSample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, inner = '', value] = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name === undefined) throw new Error(`not a sample: ${line}`);
      const pairs = [...inner.matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/g)];
      return {
        name,
        labels: Object.fromEntries(pairs.map(([, label = '', text = '']) => [label, text])),
        value: Number(value === '+Inf' ? Number.POSITIVE_INFINITY : value),
      };
    });
}

/** The labels of every metric that occurs. */
export function labelsByMetric(samples: readonly ReadSample[]): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { name, labels } of samples) {
    const all = found.get(name) ?? new Set();
    found.set(name, all);
    for (const label of Object.keys(labels)) all.add(label);
  }
  return found;
}
