/** The configuration of a mount: the options of nfs(5), validated and typed, as the client uses them. */

import { type IdentityRules, SAME_IDENTITY } from './caller/identity.js';

/** Times are milliseconds unless a name says otherwise; sizes are bytes. */
export interface ClientConfig {
  readonly host: string;
  /** The path as the server exports it, as bytes. */
  readonly exportPath: Buffer;
  /** NFS port; undefined: ask the portmapper. */
  readonly port: number | undefined;
  /** MOUNT port; undefined: ask the portmapper. */
  readonly mountPort: number | undefined;
  /** The lock manager's port; undefined: ask the portmapper. */
  readonly lockPort: number | undefined;
  /** The quota service's port; undefined: ask the portmapper. */
  readonly quotaPort: number | undefined;
  /** Where mountd is, if not on `host` (nfs(5) mounthost). */
  readonly mountHost: string | undefined;
  readonly proto: 'tcp' | 'udp';
  readonly nconnect: number;
  /** Use a source port below 1024. */
  readonly resvport: boolean;

  /** hard: for ever. soft: EIO after a major timeout; softerr: ETIMEDOUT (nfs(5)). */
  readonly recovery: 'hard' | 'soft' | 'softerr';
  /** First retransmission timeout. */
  readonly timeoMs: number;
  readonly retrans: number;
  /** How long mounting goes on trying (nfs(5) retry, there in minutes). */
  readonly retryMs: number;

  /** Which of the server's users and groups stand for which of this machine's. */
  readonly identity: IdentityRules;
  /** The kernel decides by mode and owner who may do what (default_permissions), and asks for them at each open(2). */
  readonly kernelChecks: boolean;
  readonly readOnly: boolean;
  /** Largest READ and WRITE; undefined: what the server prefers. */
  readonly rsize: number | undefined;
  readonly wsize: number | undefined;
  /** Bytes that may be read ahead for all open files together; 0: nothing is. */
  readonly readAhead: number;
  /** Bytes that may be written behind for all files together; 0: write(2) waits until the server has taken the data. */
  readonly writeBehind: number;
  /** Changes of a file that is being made go to the server with its data, where their outcome is certain. */
  readonly attributesBehind: boolean;
  /** Reads and writes go around the kernel's page cache: pieces as large as the program's, and none kept. */
  readonly directIo: boolean;
  /** Every write is on stable storage before it returns (-o sync, noac). */
  readonly sync: boolean;

  readonly acRegMinMs: number;
  readonly acRegMaxMs: number;
  readonly acDirMinMs: number;
  readonly acDirMaxMs: number;
  /** noac: attributes are never trusted. */
  readonly attributeCache: boolean;
  /** Close-to-open (nfs(5) cto, nocto). */
  readonly closeToOpen: boolean;
  /** A small file that is opened for reading is asked for along with its attributes. */
  readonly earlyRead: boolean;
  /**
   * Data that was read stays on the local disk (nfs(5) fsc), in this folder: an absolute path; undefined: the user's own
   * cache folder.
   */
  readonly diskCache: { readonly folder: string | undefined } | undefined;
  /** Bytes of disk for it; undefined: 10 GiB, or a tenth of the file system if that is less. */
  readonly diskCacheSize: number | undefined;
  /** With nocto: directories that a program which walks a tree is about to open are listed ahead. */
  readonly walkAhead: boolean;
  /**
   * A name that a call is about to make, and may not exist, is made without a LOOKUP before, where that is certain. 'far': only if the
   * server is so far away that it pays.
   */
  readonly directCreate: boolean | 'far';
  readonly lookupCache: 'all' | 'pos' | 'none';
  /** Locks at the server: where it offers them, insisted upon (lock), or none (nolock). */
  readonly locks: 'offered' | 'insist' | 'none';
  /** Locks that the kernel keeps for the programs of this mount alone (nfs(5) local_lock). */
  readonly localLock: 'none' | 'flock' | 'posix' | 'all';
  /** The server is to tell of locks that it grants later: it calls back, through port 111 of this machine. */
  readonly lockCallback: boolean;
  /** A lock that the server gave to somebody else after a restart: writes under it fail, or nothing but the log says so. */
  readonly lockLost: 'eio' | 'ignore';
  /** READDIRPLUS: as the heuristic says, always, or never. */
  readonly rdirplus: 'auto' | 'force' | 'none';
  /** statfs(2) shows no more room than the caller's quota leaves. */
  readonly quotaDf: boolean;
}

/** The defaults of nfs(5). */
export const DEFAULT_CONFIG: Omit<ClientConfig, 'host' | 'exportPath'> = {
  port: undefined,
  mountPort: undefined,
  lockPort: undefined,
  quotaPort: undefined,
  mountHost: undefined,
  proto: 'tcp',
  nconnect: 1,
  resvport: false,
  recovery: 'hard',
  timeoMs: 60_000,
  retrans: 2,
  retryMs: 0,
  identity: SAME_IDENTITY,
  kernelChecks: false,
  readOnly: false,
  rsize: undefined,
  wsize: undefined,
  readAhead: 64 * 1024 * 1024,
  writeBehind: 128 * 1024 * 1024,
  attributesBehind: true,
  directIo: false,
  sync: false,
  acRegMinMs: 3_000,
  acRegMaxMs: 60_000,
  acDirMinMs: 30_000,
  acDirMaxMs: 60_000,
  attributeCache: true,
  closeToOpen: true,
  earlyRead: true,
  diskCache: undefined,
  diskCacheSize: undefined,
  walkAhead: true,
  directCreate: 'far',
  lookupCache: 'all',
  locks: 'offered',
  localLock: 'none',
  lockCallback: false,
  lockLost: 'eio',
  rdirplus: 'auto',
  quotaDf: false,
};

/** Sizes that FSINFO, PATHCONF and the options settled, in bytes. */
export interface TransferLimits {
  readonly rsize: number;
  readonly wsize: number;
  readonly dtsize: number;
  readonly nameMax: number;
}

/**
 * No file system of Linux has longer names, and Linux's NFS client refuses them whatever the server says
 * (NFS3_MAXNAMLEN). nfs-ganesha promises 1024, and then fails.
 */
export const NAME_MAX = 255;
