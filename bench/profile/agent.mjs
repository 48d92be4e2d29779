/**
 * Preloaded into the nfs-fuse process that is profiled (--import agent.mjs?folder=…). Every other SIGUSR2 starts V8's
 * CPU profiler and says so with a file N.started; the ones between stop it and leave N.cpuprofile.
 */
import { renameSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';

/** Microseconds between samples: a request of the file system takes some hundreds. */
const INTERVAL = 100;

const folder = new URL(import.meta.url).searchParams.get('folder');
const session = new Session();
let number = 0;
let running = false;

session.connect();
session.post('Profiler.enable');
session.post('Profiler.setSamplingInterval', { interval: INTERVAL });

process.on('SIGUSR2', () => {
  running = !running;
  if (running) {
    number += 1;
    session.post('Profiler.start', () => writeFileSync(join(folder, `${number}.started`), ''));
    return;
  }
  session.post('Profiler.stop', (error, result) => {
    const path = join(folder, `${number}.cpuprofile`);
    writeFileSync(`${path}.new`, JSON.stringify(error ?? result.profile));
    renameSync(`${path}.new`, path);
  });
});
