/** The text format 0.0.4 of Prometheus: families of metrics, their samples, and the escapes. Knows nothing of mounts. */

export type Labels = Readonly<Record<string, string>>;

/** A number, or the counts of a histogram. */
export type Sample =
  | { readonly labels: Labels; readonly value: number }
  | { readonly labels: Labels; readonly histogram: Histogram };

export interface Histogram {
  /** The inclusive upper ends of the buckets; one more bucket follows. */
  readonly limits: readonly number[];
  /** Those in each bucket, and in no earlier one. */
  readonly counts: readonly number[];
  readonly sum: number;
}

export interface MetricFamily {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
}

/** One family with its lines: HELP, TYPE, and each sample. A series occurs once: of two with equal labels the first stays. */
export function exposed({ name, type, help }: MetricFamily, samples: readonly Sample[]): string {
  const series = new Map<string, Sample>();
  for (const sample of samples) {
    const key = labelText(sample.labels);
    if (!series.has(key) && isSound(sample)) series.set(key, sample);
  }
  if (series.size === 0) return '';
  const lines = [
    `# HELP ${name} ${help.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`,
    `# TYPE ${name} ${type}`,
  ];
  for (const [text, sample] of series) {
    if ('value' in sample) lines.push(`${name}${text} ${numberText(sample.value)}`);
    else lines.push(...histogramLines(name, text, sample));
  }
  return `${lines.join('\n')}\n`;
}

/** Answers come from other processes, also of other users: whatever is no number would spoil the whole text. */
function isSound(sample: Sample): boolean {
  if ('value' in sample) return typeof sample.value === 'number' && !Number.isNaN(sample.value);
  const { limits, counts, sum } = sample.histogram;
  if (!Array.isArray(limits) || !Array.isArray(counts)) return false;
  return [...limits, ...counts, sum].every(Number.isFinite) && counts.length === limits.length + 1;
}

function histogramLines(
  name: string,
  text: string,
  { labels, histogram }: Extract<Sample, { readonly histogram: Histogram }>,
): string[] {
  let below = 0;
  const buckets = histogram.counts.map((count, index) => {
    below += count;
    const le = numberText(histogram.limits[index] ?? Number.POSITIVE_INFINITY);
    return `${name}_bucket${labelText({ ...labels, le })} ${numberText(below)}`;
  });
  return [
    ...buckets,
    `${name}_sum${text} ${numberText(histogram.sum)}`,
    `${name}_count${text} ${numberText(below)}`,
  ];
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escaped(value)}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return String(value).replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n');
}

function numberText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  if (value === Number.NEGATIVE_INFINITY) return '-Inf';
  return String(value);
}
