/**
 * Whether a mount is served. A process of its own asks: a process that asks a mount that hangs will hang as well, and a
 * thread that hangs would keep this process from ending.
 */
import { spawn } from 'node:child_process';
import { helperWords, isSingleFile } from '../../base/own-program.js';

/** 'dead': its server is gone; 'silent': no answer within the time; 'alive': anything else. */
export type MountState = 'alive' | 'dead' | 'silent';

export interface MountAnswer {
  readonly state: MountState;
  /** The name of the errno, where the answer was an error. */
  readonly errno?: string | undefined;
}

// As scripts, since a file would have to be found and read.
// statfs(2), because the kernel never answers it from a cache (it answers stat(2) so while attributes are valid). And
// stat(2), because a caller that may not enter the mount gets an empty answer from statfs(2), but no error.
const PROGRAMS = {
  ask:
    `const fs = require('node:fs'); try { fs.statfsSync(process.argv[1]); fs.statSync(process.argv[1]) } ` +
    `catch (error) { process.stdout.write(String(error.code)) }`,
  realpath: `process.stdout.write(require('node:fs').realpathSync(process.argv[1]))`,
  usage:
    `const fs = require('node:fs'); try { const s = fs.statfsSync(process.argv[1], { bigint: true }); ` +
    `process.stdout.write([s.bsize, s.blocks, s.bfree, s.bavail, s.files, s.ffree].join(' ')) } ` +
    `catch (error) { process.stdout.write(String(error.code)) }`,
};
type Program = keyof typeof PROGRAMS;
const DEAD = new Set(['ENOTCONN', 'ECONNABORTED']);

/** Does in this process what these programs do, where the product is one file and its own helper. */
export function runProbe(name: string, argument: string): boolean {
  const program = Object.hasOwn(PROGRAMS, name) ? PROGRAMS[name as Program] : undefined;
  if (program === undefined) return false;
  const required = (module: string): unknown => process.getBuiltinModule(module);
  new Function('require', 'process', program)(required, { argv: ['', argument], stdout: process.stdout });
  return true;
}

/** Asks the mount at `mountpoint`, for at most `timeoutMs`. Never rejects. */
export async function askMount(mountpoint: string, timeoutMs: number): Promise<MountAnswer> {
  const said = await evaluate('ask', mountpoint, timeoutMs);
  if (said === undefined) return { state: 'silent' };
  if (said === '') return { state: 'alive' };
  return { state: DEAD.has(said) ? 'dead' : 'alive', errno: said };
}

/** Asks the mount at `mountpoint`, for at most `timeoutMs`. */
export async function probe(mountpoint: string, timeoutMs = 5000): Promise<MountState> {
  return (await askMount(mountpoint, timeoutMs)).state;
}

/** Bytes and file slots of a mounted file system; `available` is what is free for users. */
export interface FileSystemUsage {
  readonly totalBytes: bigint;
  readonly freeBytes: bigint;
  readonly availableBytes: bigint;
  readonly totalFiles: bigint;
  readonly freeFiles: bigint;
}

/** statfs(2) of the mount at `mountpoint`, for at most `timeoutMs`; how it fails otherwise. Never rejects. */
export async function usageWithin(
  mountpoint: string,
  timeoutMs: number,
): Promise<FileSystemUsage | MountAnswer> {
  const said = await evaluate('usage', mountpoint, timeoutMs);
  if (said === undefined) return { state: 'silent' };
  const numbers = /^(?:\d+ ){5}\d+$/.test(said) ? said.split(' ').map(BigInt) : [];
  const [size, blocks, free, available, files, freeFiles] = numbers;
  if (
    size === undefined ||
    blocks === undefined ||
    free === undefined ||
    available === undefined ||
    files === undefined ||
    freeFiles === undefined
  )
    return { state: DEAD.has(said) ? 'dead' : 'alive', errno: said };
  return {
    totalBytes: blocks * size,
    freeBytes: free * size,
    availableBytes: available * size,
    totalFiles: files,
    freeFiles,
  };
}

/**
 * realpath(3), for at most `timeoutMs`: a path may lead through a mount that hangs. Undefined: no answer, or
 * there is no such path.
 */
export async function realpathWithin(path: string, timeoutMs: number): Promise<string | undefined> {
  return (await evaluate('realpath', path, timeoutMs)) || undefined;
}

/**
 * The output of a JavaScript program for its argument. Undefined: it did not end in time, and perhaps not even when
 * killed.
 */
function evaluate(name: Program, argument: string, timeoutMs: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const [command, ...args] = isSingleFile()
      ? helperWords(name, argument)
      : [process.execPath, '-e', PROGRAMS[name], '--', argument];
    const child = spawn(command, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, NODE_OPTIONS: '' },
      // The present directory may be in the mount that hangs.
      cwd: '/',
    });
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const done = (result: string | undefined): void => {
      clearTimeout(timer);
      resolve(result);
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      child.stdout.destroy();
      child.unref();
      done(undefined);
    }, timeoutMs);
    child.on('close', () => done(said));
    child.on('error', () => done(''));
  });
}
