/**
 * Mounting as an ordinary user: the setuid helper fusermount3 opens /dev/fuse, mounts, and sends the descriptor
 * over a socket whose number it finds in _FUSE_COMMFD.
 */
import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { errnoName } from '../contract/errno.js';
import { receiveDescriptor, socketPair } from '../system-calls.js';
import { fusermountError, MountError, noFusermountError } from './mount-error.js';

interface Helper {
  readonly path: string;
  readonly setuid: boolean;
}

/** The path of fusermount3, or of fusermount if only that is installed. Undefined: neither is. */
export async function findFusermount(path = process.env.PATH ?? ''): Promise<Helper | undefined> {
  const folders = new Set([...path.split(delimiter), '/usr/local/bin', '/usr/bin', '/bin']);
  for (const name of ['fusermount3', 'fusermount'])
    for (const folder of folders) {
      if (folder === '') continue;
      const file = join(folder, name);
      const found = await stat(file).catch(() => undefined);
      if (found?.isFile() !== true || (found.mode & 0o111) === 0) continue;
      return { path: file, setuid: (found.mode & 0o4000) !== 0 && found.uid === 0 };
    }
  return undefined;
}

async function needFusermount(): Promise<Helper> {
  const helper = await findFusermount();
  if (helper !== undefined) return helper;
  throw noFusermountError();
}

/** Protects a value within fusermount's comma-separated options. */
export function escapeOption(value: string): string {
  return value.replace(/[\\,]/g, '\\$&');
}

/**
 * Mounts on `mountpoint` and answers the descriptor of the connection.
 * @throws MountError when the helper is missing or fails.
 */
export async function fusermountMount(mountpoint: string, options: readonly string[]): Promise<number> {
  const helper = await needFusermount();
  const pair = socketPair();
  if (typeof pair === 'number') throw new MountError('failed', `socketpair failed: ${errnoName(-pair)}`);
  const [ours, theirs] = pair;
  try {
    const result = await run(helper.path, ['-o', options.join(','), '--', mountpoint], theirs);
    if (!result.ok) throw fusermountError(helper.path, helper.setuid, result.output, result.status);
    const fd = receiveDescriptor(ours);
    if (fd < 0)
      throw new MountError(
        'fusermount-failed',
        `${helper.path} handed over no descriptor: ${errnoName(-fd)}`,
      );
    return fd;
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/**
 * Unmounts what this user mounted on `mountpoint`. `lazy`: hides it now, and unmounts it once nothing uses it.
 * @throws MountError when the helper is missing or fails.
 */
export async function fusermountUnmount(mountpoint: string, lazy: boolean): Promise<void> {
  const helper = await needFusermount();
  const result = await run(helper.path, [lazy ? '-uz' : '-u', '--', mountpoint], undefined);
  if (!result.ok) throw fusermountError(helper.path, helper.setuid, result.output, result.status);
}

interface Outcome {
  readonly ok: boolean;
  readonly output: string;
  readonly status: string;
}

/** Runs the helper in English; `descriptor` becomes its descriptor 3. */
function run(command: string, args: readonly string[], descriptor: number | undefined): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: descriptor === undefined ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'pipe', 'pipe', descriptor],
      env: { ...process.env, LC_ALL: 'C', _FUSE_COMMFD: '3' },
    });
    let output = '';
    const collect = (text: Buffer): void => {
      if (output.length < 4096) output += text.toString();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    child.on('error', (error) =>
      resolve({ ok: false, output: error.message, status: 'could not be started' }),
    );
    child.on('close', (code, signal) =>
      resolve({
        ok: code === 0,
        output,
        status: signal === null ? `exit status ${code}` : `killed by ${signal}`,
      }),
    );
  });
}
