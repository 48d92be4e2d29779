/**
 * A mount through libfuse 2.9: makes it, and finds out when it is over, which neither libfuse nor fuse-native
 * reports.
 */
import { closeSync, constants, openSync, readdirSync, readlinkSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import {
  abortConnection,
  checkPinned,
  connectionNumber,
  type FuseNotifier,
  type FuseOperations,
  type KernelMount,
  landedOn,
  type MountEntry,
  MountError,
  type MountOptions,
  type PinnedDirectory,
  pinMountpoint,
  type RequestContext,
  ROOT_NODEID,
  readMountinfo,
  type SessionCounters,
  type SessionEnd,
  setReadAhead,
  unmountEntry,
} from '../fuse/index.js';
import { escapeOption } from '../fuse/mount/fusermount.js';
import { deviceError, mountCallError } from '../fuse/mount/mount-error.js';
import { loadBinding, type NativeBinding } from './binding.js';
import { Driver } from './driver.js';
import { FileOperations } from './file-operations.js';
import { InodeNumbers } from './inode-numbers.js';
import { LibfuseFiles } from './libfuse-files.js';
import { Nodes } from './nodes.js';
import { PathOperations } from './path-operations.js';
import { chooseCodec, type NameCodec, UTF8_ONLY } from './path-text.js';

export interface NativeMountOptions
  extends Pick<
    MountOptions,
    'mountpoint' | 'pinned' | 'source' | 'readOnly' | 'noexec' | 'defaultPermissions'
  > {
  readonly operations: FuseOperations;
  /** Bypass the kernel's page cache: each read is a request, and no file can be mapped shared. */
  readonly directIo?: boolean | undefined;
  /** Receives one line per event that the operator should know of. */
  readonly log: (line: string) => void;
  /** Receives one line per callback. */
  readonly debug?: ((line: string) => void) | undefined;
}

export interface NativeMount {
  readonly mount: Omit<KernelMount, 'fd'>;
  /** Resolves when nobody uses the mount any more. Never rejects. */
  readonly closed: Promise<SessionEnd>;
  readonly counters: SessionCounters;
}

/** The addon copies mount point and options into buffers of 1024 bytes, and cuts off what is longer. */
const MAX_ARGUMENT_BYTES = 1023;
const END_POLL_MS = 100;
const LIBFUSE_MAX_WRITE = 128 * 1024;

/** Objects that libfuse and its threads use as long as the process lives, also after the unmount. */
const nativeMemory: Buffer[] = [];

/** libfuse could invalidate what the kernel caches, but fuse-native does not let us. */
const noNotifier: FuseNotifier = {
  invalidateAttributes: () => true,
  invalidatePages: () => Promise.resolve(),
  invalidateEntry: () => Promise.resolve(),
  expireEntries: () => Promise.resolve(),
  expiresEntries: false,
};

/**
 * Mounts, and serves from then on.
 * @throws MountError with what is wrong and what to do.
 */
export async function mountFuseNative(options: NativeMountOptions): Promise<NativeMount> {
  const binding = loadBinding();
  const pinned = options.pinned ?? (await pinMountpoint(options.mountpoint, options.source));
  try {
    return await mountOn(pinned, options, binding);
  } finally {
    pinned.close();
  }
}

/** libfuse finds the directory by its path. A check afterwards shows where the mount has landed. */
async function mountOn(
  pinned: PinnedDirectory,
  options: NativeMountOptions,
  binding: NativeBinding,
): Promise<NativeMount> {
  const { source } = options;
  const { path: mountpoint } = pinned;
  await checkPinned(pinned, source);
  await checkAccess();
  const codec = chooseCodec();
  if (codec === UTF8_ONLY)
    options.log(
      'the C library converts no ISO-8859-1: names that are not UTF-8 are neither shown nor accepted',
    );
  const argument = optionList(options, codec);
  for (const [what, value] of [
    ['the mount point', mountpoint],
    ['the source', argument],
  ] as const)
    if (Buffer.byteLength(value) > MAX_ARGUMENT_BYTES)
      throw new MountError('bad-option', `${what} is too long for fuse-native`, 'use --transport kernel');

  const serving = serve(options, binding, codec);
  // Protocol 7.19 is libfuse 2.9's, and no flag matters to the file system.
  options.operations.init?.(
    { protocolMinor: 19, maxWrite: LIBFUSE_MAX_WRITE, maxReadahead: LIBFUSE_MAX_WRITE, flags: 0n },
    noNotifier,
  );
  const before = await readMountinfo();
  const fd = await startServing(binding, serving, mountpoint, argument, () =>
    landedOn(pinned, before, { source, minor: undefined }),
  );
  const entry = await landedOn(pinned, before, { source, minor: connectionNumber(fd) });
  try {
    await serving.ready;
    // Do not ask through the mount: a thread of ours that waits there would keep this process alive after a SIGKILL.
    await options.operations.getattr(serving.ctx, ROOT_NODEID, undefined);
  } catch (error) {
    await unmountEntry(entry, { lazy: true }).catch(() => {});
    throw error;
  }
  const { id, major, minor } = entry;
  const method = process.geteuid?.() === 0 ? 'direct' : 'fusermount';
  return {
    mount: {
      mountpoint,
      id,
      method,
      major,
      minor,
      unmount: (unmountOptions) => unmountEntry(entry, { ...unmountOptions, method }),
      abort: () => abortConnection(minor),
      setReadAhead: (kibibytes) => setReadAhead(major, minor, kibibytes),
    },
    closed: ended(fd, id, options).then((end) => {
      binding.fuse_native_unmount(mountpoint, serving.thread);
      return end;
    }),
    get counters() {
      return serving.driver.counters;
    },
  };
}

interface Serving {
  readonly ctx: RequestContext;
  readonly driver: Driver;
  /** struct fuse_thread_t. */
  readonly thread: Buffer;
  readonly ready: Promise<void>;
}

function serve(options: NativeMountOptions, binding: NativeBinding, codec: NameCodec): Serving {
  const { operations, log, debug } = options;
  const files = new LibfuseFiles();
  const shared = {
    operations,
    ctx: mounter(),
    nodes: new Nodes(operations, codec, files, log),
    files,
    codec,
    inodeNumbers: new InodeNumbers(),
    warn: log,
  };
  const paths = new PathOperations(shared);
  let onInit: () => void = () => {};
  const ready = new Promise<void>((resolve) => {
    onInit = resolve;
  });
  const driver = new Driver({ binding, paths, files: new FileOperations(shared, paths), onInit, log, debug });
  return { ctx: shared.ctx, driver, thread: Buffer.alloc(binding.sizeof_fuse_thread_t), ready };
}

/** fuse-native does not say who the caller is. All callers that the kernel lets in act as the process that mounted. */
function mounter(): RequestContext {
  return {
    unique: 0,
    resent: false,
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
    // For the sake of its supplementary groups.
    pid: process.pid,
    cancelled: false,
    onCancel() {},
  };
}

/** Explains failures that libfuse's own messages do not explain. libfuse runs "fusermount", never "fusermount3". */
async function checkAccess(): Promise<void> {
  if (process.geteuid?.() === 0) {
    try {
      closeSync(openSync('/dev/fuse', constants.O_RDWR));
    } catch (error) {
      throw deviceError((error as NodeJS.ErrnoException).code);
    }
    return;
  }
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder === '') continue;
    const found = await access(join(folder, 'fusermount'), constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return;
  }
  throw new MountError(
    'no-fusermount',
    'libfuse needs the program fusermount to mount for an ordinary user, and it is not in PATH',
    'install the package fuse3 (where it brings only fusermount3, link fusermount to it), or use --transport kernel',
  );
}

/**
 * libfuse's options. Nothing that it caches by itself may outlive a request: that would break close-to-open.
 * hard_remove is not among them: with it libfuse loses the path of a removed file, and fails every read and write of it
 * with ENOENT.
 */
function optionList(options: NativeMountOptions, codec: NameCodec): string {
  const list = [
    options.readOnly === true ? 'ro' : 'rw',
    'attr_timeout=0',
    'entry_timeout=0',
    'negative_timeout=0',
    'ac_attr_timeout=0',
    'big_writes',
    'use_ino',
    'nonempty',
    'subtype=nfs-fuse',
    ...codec.options,
  ];
  if (options.noexec === true) list.push('noexec');
  if (options.defaultPermissions === true) list.push('default_permissions');
  if (options.directIo === true) list.push('direct_io');
  list.push(`fsname=${escapeOption(options.source)}`);
  return `-o${list.join(',')}`;
}

/** Mounts; answers libfuse's descriptor of /dev/fuse. */
async function startServing(
  binding: NativeBinding,
  serving: Serving,
  mountpoint: string,
  argument: string,
  find: () => Promise<MountEntry>,
): Promise<number> {
  const { driver, thread } = serving;
  const before = new Set(fuseDescriptors());
  const allocate = (size: number): Buffer => {
    const memory = Buffer.alloc(size);
    nativeMemory.push(memory);
    return memory;
  };
  nativeMemory.push(thread);
  const { handlers, implemented } = driver;
  try {
    binding.fuse_native_mount(mountpoint, argument, thread, driver, allocate, handlers, implemented);
  } catch (error) {
    const left = fuseDescriptors().find((descriptor) => !before.has(descriptor));
    if (left !== undefined) {
      // libfuse has mounted, and then refused its options.
      closeSync(left);
      await find()
        .then((entry) => unmountEntry(entry, { lazy: true }))
        .catch(() => {});
    } else if (process.geteuid?.() === 0) throw mountCallError('EPERM', mountpoint);
    throw new MountError(
      'failed',
      `libfuse could not mount on ${mountpoint}`,
      'what it says is on standard error (with -f); --transport kernel does without it',
      { cause: error },
    );
  }
  const fd = fuseDescriptors().find((descriptor) => !before.has(descriptor));
  if (fd === undefined) throw new MountError('failed', 'libfuse mounted, but has no descriptor of /dev/fuse');
  return fd;
}

function fuseDescriptors(): number[] {
  return readdirSync('/proc/self/fd').map(Number).filter(isFuseDevice);
}

function isFuseDevice(fd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === '/dev/fuse';
  } catch {
    return false;
  }
}

/**
 * libfuse closes its descriptor when the kernel has ended the connection and every callback is answered. If the
 * mount is still there then, the connection was aborted.
 */
function ended(fd: number, id: number, { operations, log }: NativeMountOptions): Promise<SessionEnd> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (isFuseDevice(fd)) return;
      clearInterval(timer);
      void stillMounted(id).then((mounted) => {
        try {
          operations.destroy?.();
        } catch (error) {
          log(`fuse-native: ending the file system failed: ${String(error)}`);
        }
        resolve(mounted ? 'aborted' : 'unmounted');
      });
    }, END_POLL_MS);
  });
}

async function stillMounted(id: number): Promise<boolean> {
  return (await readMountinfo()).some((entry) => entry.id === id);
}
