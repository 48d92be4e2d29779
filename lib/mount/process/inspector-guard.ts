/**
 * Keeps SIGUSR1 from opening the port of Node's inspector, through which any user of the machine can run code in this
 * process. A listener takes the signal away from Node; what a signal opened before that is closed. Imported first, for
 * its effect alone.
 */

/** The port is looked for again. */
const LATER_MS = [0, 10, 100, 1_000, 10_000];

const wasAskedFor = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((text) =>
  text.includes('--inspect'),
);

process.on('SIGUSR1', () => {});
if (!wasAskedFor) {
  // A Node without the inspector has no such module, and no such port.
  const inspector = await import('node:inspector').catch(() => undefined);
  const shut = (): void => {
    if (inspector?.url() !== undefined) inspector.close();
  };
  shut();
  // A signal that came just before the listener is acted upon by another thread, at any moment from now on.
  for (const milliseconds of LATER_MS) setTimeout(shut, milliseconds).unref();
}

export {};
