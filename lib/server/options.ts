/** The options of the embedded server, and their defaults. */
import { randomBytes } from 'node:crypto';
import { realpathSync, statSync } from 'node:fs';
import { MAX_DATA } from '../programs/nfs3/index.js';
import { DEFAULT_LOCK_SETTINGS, type LockSettings } from './lock-service.js';
import type { ServedUsersOptions } from './served-users.js';
import { SIPHASH_KEY_BYTES } from './tree/siphash.js';
import type { TreeOptions } from './tree/tree.js';
import { NOBODY } from './trust.js';

export interface EmbeddedServerOptions {
  /** The directory to export. */
  readonly path: string;
  /** 0, the default: any free port. */
  readonly port?: number | undefined;
  /** Address to listen on; 127.0.0.1 unless told otherwise. */
  readonly host?: string | undefined;
  /** The name to mount the directory by; "/export" by default. */
  readonly exportName?: string | undefined;
  readonly readOnly?: boolean | undefined;
  /**
   * Treat root of the clients as the anonymous user. By default only when listening beyond the loopback interface,
   * where root of a client need not be root of this machine. Refused if the server cannot act as other users.
   */
  readonly rootSquash?: boolean | undefined;
  /** Treat everybody as the anonymous user. Refused if the server cannot act as other users. */
  readonly allSquash?: boolean | undefined;
  /**
   * Carry out only calls that come from a port below 1024, which only root of a machine can give to a program; false by
   * default. AUTH_SYS believes what the calling program says about its user. Without this option, every program that
   * can connect can claim to be any user.
   */
  readonly reservedPortsOnly?: boolean | undefined;
  readonly anonymousUid?: number | undefined;
  readonly anonymousGid?: number | undefined;
  /** The sizes that FSINFO tells clients, in bytes. */
  readonly limits?: Partial<TreeOptions['limits']> | undefined;
  /** Call fsync(2) for a directory after every change in it. Off by default: only files are then safe in a crash. */
  readonly syncDirectories?: boolean | undefined;
  /** Objects and descriptors kept in memory. */
  readonly maxInodes?: number | undefined;
  readonly maxDirectories?: number | undefined;
  readonly maxOpenFiles?: number | undefined;
  /** A file that nobody reads or writes is closed after this many milliseconds, or up to twice as many. */
  readonly closeIdleAfter?: number | undefined;
  /** The most names in cached listings. */
  readonly maxListedEntries?: number | undefined;
  /** The most names that a search for a moved object looks at. */
  readonly maxWalkedEntries?: number | undefined;
  /**
   * 16 secret bytes that seal the handles. Handles stay valid for a later server with the same bytes. By default they
   * are random, and stay the same until the server is closed.
   */
  readonly handleKey?: Uint8Array | undefined;
  /** With another number, the same objects have other handles. */
  readonly handleGeneration?: number | undefined;
  /**
   * Answer a call that comes twice from memory instead of carrying it out again; true by default. Without this, the
   * second answer to a successful call is an error (EXIST, NOENT).
   */
  readonly replayCache?: boolean | undefined;
  /** How the lock manager behaves, for tests: as another server does, or after a start. */
  readonly locks?: Partial<LockSettings> | undefined;
  /** Keep what UNSTABLE writes overwrite, so that restart({ loseUncommitted: true }) can lose them. */
  readonly undoUnstable?: boolean | undefined;
  /** Milliseconds for which a directory seen inside the export is trusted to be there. */
  readonly insideFor?: number | undefined;
  /** Milliseconds, monotonic. */
  readonly now?: (() => number) | undefined;
  readonly log?: ((line: string) => void) | undefined;
}

export interface ResolvedOptions extends Omit<TreeOptions, 'callers'>, ServedUsersOptions {
  readonly port: number;
  readonly host: string;
  readonly exportName: string;
  readonly replayCache: boolean;
  readonly reservedPortsOnly: boolean;
  readonly locks: LockSettings;
}

const MiB = 1024 * 1024;

/** Throws an Error that tells what is wrong with the directory or the name. */
export function resolveOptions(options: EmbeddedServerOptions): ResolvedOptions {
  const host = options.host ?? '127.0.0.1';
  const exportName = options.exportName ?? '/export';
  if (!exportName.startsWith('/')) {
    throw new Error(`the name of an export is a path that begins with "/", not "${exportName}"`);
  }
  return {
    path: existingDirectory(options.path),
    port: options.port ?? 0,
    host,
    exportName,
    replayCache: options.replayCache ?? true,
    locks: { ...DEFAULT_LOCK_SETTINGS, ...options.locks },
    readOnly: options.readOnly ?? false,
    rootSquash: options.rootSquash ?? !isLoopback(host),
    allSquash: options.allSquash ?? false,
    reservedPortsOnly: options.reservedPortsOnly ?? false,
    anonymousUid: options.anonymousUid ?? NOBODY,
    anonymousGid: options.anonymousGid ?? NOBODY,
    limits: checkedLimits({
      rtmax: MiB,
      rtpref: MiB,
      wtmax: MiB,
      wtpref: MiB,
      dtpref: MiB / 16,
      ...options.limits,
    }),
    syncDirectories: options.syncDirectories ?? false,
    maxInodes: options.maxInodes ?? 262_144,
    maxDirectories: options.maxDirectories ?? 512,
    maxOpenFiles: options.maxOpenFiles ?? 256,
    closeIdleAfter: options.closeIdleAfter ?? 2000,
    maxListedEntries: options.maxListedEntries ?? 250_000,
    maxWalkedEntries: options.maxWalkedEntries ?? 2_000_000,
    handleKey: options.handleKey ?? randomBytes(SIPHASH_KEY_BYTES),
    handleGeneration: options.handleGeneration ?? 0,
    undoUnstable: options.undoUnstable ?? false,
    insideFor: options.insideFor ?? 1000,
    now: options.now ?? (() => performance.now()),
    log: options.log ?? (() => {}),
  };
}

function checkedLimits(limits: TreeOptions['limits']): TreeOptions['limits'] {
  for (const [name, bytes] of Object.entries(limits)) {
    if (!Number.isInteger(bytes) || bytes < 512 || bytes > MAX_DATA) {
      throw new Error(`${name} is a number of bytes from 512 to ${MAX_DATA}, not ${bytes}`);
    }
  }
  return limits;
}

/** Without symbolic links, so that the export stays the directory that it was at the start. */
function existingDirectory(path: string): string {
  let real: string;
  try {
    real = realpathSync(path);
  } catch (cause) {
    throw new Error(`cannot export ${path}: there is no such directory`, { cause });
  }
  if (!statSync(real).isDirectory()) throw new Error(`cannot export ${path}: it is not a directory`);
  return real;
}

/** Whether a server that listens there cannot be reached from other machines. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}
