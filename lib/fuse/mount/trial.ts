/** A mount that nobody sees: whether the kernel lets this user mount, and what it offers then. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export type TrialMount =
  | {
      readonly outcome: 'mounted';
      /** The kernel's FUSE protocol, "7.41". */
      readonly protocol: string;
      /** It is one that we speak. */
      readonly spoken: boolean;
      /** How far the kernel reads ahead may be set. */
      readonly readAheadWritable: boolean;
    }
  /** mount(2) failed. */
  | { readonly outcome: 'refused'; readonly errno: string }
  /** There is no way to try it unseen: no mount namespace to be had, or no /dev/fuse. */
  | { readonly outcome: 'untried'; readonly errno: string };

export interface TrialOptions {
  /** In a user namespace of its own, made by unshare(1): for who may not mount as it is. */
  readonly inUserNamespace: boolean;
  readonly timeoutMs: number;
}

const PROGRAM = fileURLToPath(new URL('./trial-program.js', import.meta.url));

/** Never rejects, and leaves nothing behind: the mount ends with the process that made it. */
export function trialMount({ inUserNamespace, timeoutMs }: TrialOptions): Promise<TrialMount> {
  const namespace = inUserNamespace ? ['unshare', '-Urm'] : [];
  const [command = process.execPath, ...args] = [...namespace, process.execPath, PROGRAM];
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const done = (trial: TrialMount): void => {
      clearTimeout(timer);
      resolve(trial);
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.unref();
      done({ outcome: 'untried', errno: 'ETIMEDOUT' });
    }, timeoutMs);
    child.on('error', (error: NodeJS.ErrnoException) =>
      done({ outcome: 'untried', errno: error.code ?? error.message }),
    );
    child.on('close', (status, signal) => {
      try {
        done(JSON.parse(said) as TrialMount);
      } catch {
        done({ outcome: 'untried', errno: signal ?? `exit status ${status}` });
      }
    });
  });
}
