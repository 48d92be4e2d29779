/** The shapes of the metrics of one mount. */
import type { MountStatistics } from '../serve/running-mount.js';
import type { MetricFamily, Sample } from './exposition.js';

export interface MountMetric {
  readonly family: MetricFamily;
  /** The labels of the mount itself are added later. */
  samples(stats: MountStatistics): readonly Sample[];
}

type Value = (stats: MountStatistics) => number | undefined;

/** A number that only goes up while the process lives. Without a value there is no sample. */
export function counter(name: string, help: string, value: Value): MountMetric {
  return single('counter', name, help, value);
}

/** A number that goes up and down. Without a value there is no sample. */
export function gauge(name: string, help: string, value: Value): MountMetric {
  return single('gauge', name, help, value);
}

function single(type: 'counter' | 'gauge', name: string, help: string, value: Value): MountMetric {
  return {
    family: { name: `nfs_fuse_${name}`, type, help },
    samples: (stats) => {
      const found = value(stats);
      return found === undefined ? [] : [{ labels: {}, value: found }];
    },
  };
}
