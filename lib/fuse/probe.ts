/**
 * Whether anybody serves a mount. Asked by a process of its own: whoever asks a mount that hangs hangs with it,
 * and a thread that hangs would keep this process from ending.
 */
import { spawn } from 'node:child_process';

/** 'dead': its server is gone; 'silent': no answer within the time; 'alive': anything else. */
export type MountState = 'alive' | 'dead' | 'silent';

const DEAD_STATUS = 75;
// statfs(2), because the kernel never answers it from a cache (stat(2) does, for as long as attributes hold).
const PROGRAM =
  `try { require('node:fs').statfsSync(process.argv[1]) } catch (error) ` +
  `{ if (error.code === 'ENOTCONN' || error.code === 'ECONNABORTED') process.exit(${DEAD_STATUS}) }`;

/** Asks the mount at `mountpoint`, for at most `timeoutMs`. */
export function probe(mountpoint: string, timeoutMs = 5000): Promise<MountState> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', PROGRAM, '--', mountpoint], {
      stdio: 'ignore',
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.unref();
      resolve('silent');
    }, timeoutMs);
    const done = (state: MountState): void => {
      clearTimeout(timer);
      resolve(state);
    };
    child.on('exit', (status) => done(status === DEAD_STATUS ? 'dead' : 'alive'));
    child.on('error', () => done('alive'));
  });
}
