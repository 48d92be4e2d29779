/**
 * Keeps SIGUSR1 from opening the port of Node's inspector, through which any user of the machine can run code in this
 * process. A listener takes the signal away from Node. A port that an earlier signal has opened is closed. The program
 * imports this file first, for its effect alone.
 */

/** Times at which an open port is looked for. */
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
  // Another thread of Node acts on a signal that came just before the listener, at any moment from now on.
  for (const milliseconds of LATER_MS) setTimeout(shut, milliseconds).unref();
}

export {};
