/** The troubles of the long run: connections are cut, the network stands still, the server restarts. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultProxy } from '../../test/support/fault-proxy.js';
import type { Ganesha } from '../../test/support/ganesha.js';
import type { SeededRandom } from '../../test/support/seeded-random.js';

/** Seconds between two troubles, at least and at most. */
const BETWEEN = [15, 45] as const;
/** One trouble in so many is a restart of the server. */
const RESTART_ONE_IN = 6;

export type TroubleKind = 'restart' | 'cut' | 'pause' | 'refuse';

export interface Trouble {
  /** Since the run began. */
  readonly seconds: number;
  readonly kind: TroubleKind;
}

export interface TroubleOptions {
  readonly proxy: FaultProxy;
  readonly server: Ganesha;
  readonly random: SeededRandom;
  readonly stop: AbortSignal;
  /** Gets each trouble as it begins. */
  readonly told: (kind: TroubleKind) => void;
  /** Runs work while no program is started (Workload). */
  readonly whileClosed: (work: () => Promise<void>) => Promise<void>;
}

/** Makes trouble until `stop`; then the server runs and everything passes. Throws if the server does not come back. */
export async function makeTrouble({
  proxy,
  server,
  random,
  stop,
  told,
  whileClosed,
}: TroubleOptions): Promise<void> {
  for (;;) {
    const pause = random.between(BETWEEN[0] * 1000, BETWEEN[1] * 1000);
    await sleep(pause, undefined, { signal: stop }).catch(() => undefined);
    if (stop.aborted) return;
    const kind: TroubleKind = random.oneIn(RESTART_ONE_IN)
      ? 'restart'
      : random.pick(['cut', 'cut', 'pause', 'refuse']);
    told(kind);
    switch (kind) {
      case 'restart':
        await whileClosed(async () => {
          await (random.oneIn(3) ? server.stop() : server.kill());
          await server.start();
        });
        break;
      case 'cut':
        proxy.cutAll();
        break;
      case 'pause':
        proxy.pause(random.between(100, 3000));
        break;
      case 'refuse':
        proxy.refuse(random.between(100, 2000));
        proxy.cutAll();
        break;
    }
  }
}
