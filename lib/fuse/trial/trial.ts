/** A mount that no other process sees. It shows whether the kernel lets this user mount, and what it then offers. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { helperWords, isSingleFile } from '../../base/own-program.js';

export type TrialMount =
  | {
      readonly outcome: 'mounted';
      /** The kernel's FUSE protocol, "7.41". */
      readonly protocol: string;
      /** Whether we speak that protocol. */
      readonly spoken: boolean;
      /** Whether the read-ahead of the kernel can be set. */
      readonly readAheadWritable: boolean;
    }
  /** mount(2) failed. */
  | { readonly outcome: 'refused'; readonly errno: string }
  /** It cannot be tried without being seen: there is no mount namespace, or no /dev/fuse. */
  | { readonly outcome: 'untried'; readonly errno: string };

export interface TrialOptions {
  /** Try in a user namespace that unshare(1) makes, for users that may not mount without one. */
  readonly inUserNamespace: boolean;
  readonly timeoutMs: number;
}

/** The helper's name where the product is one file. */
export const TRIAL = 'trial';
const script = (): string => fileURLToPath(new URL('./trial-program.js', import.meta.url));

/** Never rejects, and leaves nothing behind: the mount ends with the process that made it. */
export function trialMount({ inUserNamespace, timeoutMs }: TrialOptions): Promise<TrialMount> {
  const namespace = inUserNamespace ? ['unshare', '-Urm'] : [];
  const program = isSingleFile() ? helperWords(TRIAL, '') : [process.execPath, script()];
  const [command = process.execPath, ...args] = [...namespace, ...program];
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
