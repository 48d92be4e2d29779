/**
 * The native half of the npm package fuse-native: found, loaded, and given types. The package's own JavaScript is
 * not used: it swaps the times of utimens, and unmounts through a shell.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { endianness } from 'node:os';
import { dirname, join } from 'node:path';
import koffi from 'koffi';
import { isSingleFile } from '../base/own-program.js';
import { MountError } from '../fuse/index.js';

/** The only version whose memory layout is known here (request.ts), and the last one there is. */
export const SUPPORTED_VERSION = '2.2.6';

/** A request of libfuse, as memory that the addon and we share (request.ts). */
export type NativeRequest = Buffer;
/** The function that the addon calls, on the main thread, for one operation. It must not throw. */
export type NativeHandler = (request: NativeRequest, operation: number, ...args: unknown[]) => void;
/** Lets the thread of a request go on with a result: 0, a count, or a negative errno. */
export type NativeSignal = (request: NativeRequest, result: number, ...values: unknown[]) => void;

export interface NativeBinding {
  readonly sizeof_fuse_thread_t: number;
  /** Mounts and starts libfuse's threads. Throws "fuse failed" for whatever reason libfuse had. */
  fuse_native_mount(
    mountpoint: string,
    options: string,
    thread: Buffer,
    context: object,
    allocate: (size: number) => Buffer,
    handlers: readonly (NativeHandler | undefined)[],
    implemented: Uint32Array,
  ): void;
  /** Does not unmount. It lets the event loop end. */
  fuse_native_unmount(mountpoint: string, thread: Buffer): void;
  /** Number of an operation by its name. */
  operation(name: string): number;
  /** The function that ends an operation. */
  signal(name: string): NativeSignal;
}

/**
 * Loads the addon and the libfuse that it comes with.
 * @throws MountError when the package is not installed, or cannot be used here.
 */
export function loadBinding(): NativeBinding {
  if (isSingleFile()) throw unusable('it is not part of the single executable file');
  const require = createRequire(import.meta.url);
  const folder = packageFolder(require);
  checkVersion(folder);
  // On other machines the addon's structures look different.
  if (endianness() !== 'LE' || koffi.sizeof('void *') !== 8 || koffi.sizeof('size_t') !== 8)
    throw unusable('it is supported on 64-bit little-endian machines only');
  try {
    const ownRequire = createRequire(join(folder, 'index.js'));
    const nodeGypBuild = ownRequire('node-gyp-build') as NodeGypBuild;
    const addon = nodeGypBuild.path(folder);
    // The addon needs libfuse.so.2 and has no path to it. Once loaded here, the library is found by that name.
    const library = join(dirname(addon), 'libfuse.so');
    if (existsSync(library)) koffi.load(library);
    return typed(ownRequire(addon) as Record<string, unknown>);
  } catch (error) {
    if (error instanceof MountError) throw error;
    throw unusable(error instanceof Error ? error.message : String(error), error);
  }
}

interface NodeGypBuild {
  /** Where the addon of a package is. */
  path(folder: string): string;
}

function packageFolder(require: NodeJS.Require): string {
  try {
    return dirname(require.resolve('fuse-native/package.json'));
  } catch (error) {
    throw new MountError(
      'no-fuse',
      'the npm package fuse-native is not installed',
      `install it where nfs-fuse is (npm install fuse-native@${SUPPORTED_VERSION}), or use --transport kernel, ` +
        'which needs no package',
      { cause: error },
    );
  }
}

function checkVersion(folder: string): void {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  if (version !== SUPPORTED_VERSION)
    throw unusable(`its version is ${version}, and only ${SUPPORTED_VERSION} is supported`);
}

function unusable(why: string, cause?: unknown): MountError {
  return new MountError(
    'no-fuse',
    `the npm package fuse-native cannot be used: ${why}`,
    'reinstall it (npm rebuild fuse-native, which may need a C compiler), or use --transport kernel, which needs ' +
      'no package',
    { cause },
  );
}

function typed(addon: Record<string, unknown>): NativeBinding {
  const need = <T>(name: string, type: 'function' | 'number'): T => {
    const value = addon[name];
    if (typeof value !== type) throw unusable(`it has no ${name}`);
    return value as T;
  };
  return {
    sizeof_fuse_thread_t: need('sizeof_fuse_thread_t', 'number'),
    fuse_native_mount: need('fuse_native_mount', 'function'),
    fuse_native_unmount: need('fuse_native_unmount', 'function'),
    operation: (name) => need(`op_${name}`, 'number'),
    signal: (name) => need(`fuse_native_signal_${name}`, 'function'),
  };
}
