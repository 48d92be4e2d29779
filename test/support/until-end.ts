import type { Test } from 'tap';

type Ending = { close(): unknown } | { remove(): unknown } | { stop(): unknown };

/** Keeps a server, a mount, a place, a folder or a program until the test ends, and then ends it, whatever happened. */
export function untilEnd<Thing extends Ending>(t: Test, thing: Thing): Thing {
  t.teardown(async () => {
    if ('close' in thing) await thing.close();
    else if ('remove' in thing) await thing.remove();
    else await thing.stop();
  });
  return thing;
}
