/** Every mount option by its name in nfs(5), mount(8) or fuse(8): what it takes, and what it changes. */
import { UserError } from '../../base/user-error.js';
import type { KernelFlag } from '../../fuse/index.js';
import { DISK_CACHE_OPTIONS } from './disk-cache-options.js';
import { IDENTITY_OPTIONS } from './identity-options.js';
import {
  choice,
  type Draft,
  flag,
  fuseFlag,
  ignored,
  integer,
  kernelFlag,
  type MountOption,
  onlyValue,
  refused,
  seconds,
} from './option-kinds.js';
import { SELINUX_OPTIONS } from './selinux-options.js';

/** nfs(5): a size below the first becomes the second, a size above the third becomes the third. */
const MIN_TRANSFER = 1024;
const SMALL_TRANSFER_BECOMES = 4096;
const MAX_TRANSFER = 1_048_576;
/** A timer of Node holds at most 2^31 - 1 milliseconds. */
const MAX_TIMER_MINUTES = 35_791;
/** nfs(5): "up to the maximum of 600 seconds". */
const MAX_TIMEO_DECISECONDS = 6000;
const MAX_NCONNECT = 16;

function transferSize(key: 'rsize' | 'wsize'): MountOption {
  return integer({ min: 0, max: 2 ** 32 - 1, unit: 'number of bytes' }, (settings, value) => {
    if (value < MIN_TRANSFER) settings[key] = SMALL_TRANSFER_BECOMES;
    else settings[key] = Math.min(MAX_TRANSFER, value - (value % 1024));
  });
}

/** Memory of the whole mount, for one purpose. 0 turns that off. */
function memory(key: 'readAhead' | 'writeBehind'): MountOption {
  return integer({ min: 0, max: 2 ** 32 - 1, unit: 'number of bytes' }, (settings, value) => {
    settings[key] = value;
  });
}

/** nfs(5): 0 means the same as no option at all, "ask rpcbind". */
function port(key: 'port' | 'mountPort' | 'lockPort' | 'quotaPort'): MountOption {
  return integer({ min: 0, max: 65_535, unit: 'port number' }, (settings, value) => {
    settings[key] = value === 0 ? undefined : value;
  });
}

function transport(proto: 'tcp' | 'udp', family: 4 | 6 | undefined): (draft: Draft) => void {
  return (draft) => {
    draft.client.proto = proto;
    draft.addressFamily = family;
  };
}

const NO_RDMA = ' RDMA is not supported.';

const onlyV3 = refused(
  'nfs-fuse speaks only NFSv3.',
  'Leave out the version, or write vers=3; the server must offer NFSv3.',
);

const version: MountOption = {
  value: 'required',
  hint: '3',
  apply(_draft, text, name) {
    if (text === '3' || text === '3.0') return;
    throw new UserError(`${name}=${text}: nfs-fuse speaks only NFSv3.`, {
      remedy: `Leave out ${name}, or write ${name}=3; the server must offer NFSv3.`,
    });
  },
};

type LocalLock = 'none' | 'flock' | 'posix' | 'all';

function localLock(kinds: LocalLock): (draft: Draft) => void {
  return (draft) => {
    draft.client.localLock = kinds;
  };
}

/** Options in fstab for mount(8), systemd and others, and flags that the kernel ignores by now. */
const IGNORED = [
  'defaults auto noauto user nouser users owner group _netdev nofail comment',
  'iversion noiversion mand nomand silent loud',
  // nfs(5): "ignored after kernel 2.6.25".
  'intr nointr',
  'nosharecache noacl nosoftreval sloppy',
  // The kernel shows it of a mount that SELinux knows, and ignores it (Linux selinux_add_opt).
  'seclabel',
].flatMap((names) => names.split(' '));
export const IGNORED_OPTIONS: ReadonlySet<string> = new Set([...IGNORED, 'v3']);

/** The options of mount(8) that set or clear a flag of the kernel. */
const KERNEL_OPTIONS: Readonly<Record<string, readonly [KernelFlag, boolean]>> = {
  ro: ['ro', true],
  rw: ['ro', false],
  nosuid: ['nosuid', true],
  suid: ['nosuid', false],
  nodev: ['nodev', true],
  dev: ['nodev', false],
  // As said by mount(8), dev and suid may be nothing but its defaults: see kernel-flags.ts.
  allow_suid: ['nosuid', false],
  allow_dev: ['nodev', false],
  noexec: ['noexec', true],
  exec: ['noexec', false],
  sync: ['sync', true],
  async: ['sync', false],
  dirsync: ['dirsync', true],
  nosymfollow: ['nosymfollow', true],
  symfollow: ['nosymfollow', false],
  noatime: ['noatime', true],
  atime: ['noatime', false],
  nodiratime: ['nodiratime', true],
  diratime: ['nodiratime', false],
  relatime: ['relatime', true],
  norelatime: ['relatime', false],
  strictatime: ['strictatime', true],
  nostrictatime: ['strictatime', false],
  lazytime: ['lazytime', true],
  nolazytime: ['lazytime', false],
};

export const MOUNT_OPTIONS: ReadonlyMap<string, MountOption> = new Map<string, MountOption>([
  ...IGNORED.map((name): [string, MountOption] => [name, ignored]),

  ...Object.entries(KERNEL_OPTIONS).map(([name, wish]): [string, MountOption] => [name, kernelFlag(...wish)]),
  ['allow_other', fuseFlag({ allowOther: true })],
  ['default_permissions', fuseFlag({ defaultPermissions: true })],
  ['debug', fuseFlag({ debug: true })],

  ...IDENTITY_OPTIONS,
  ...DISK_CACHE_OPTIONS,
  ...SELINUX_OPTIONS,

  ['port', port('port')],
  ['mountport', port('mountPort')],
  ['nlmport', port('lockPort')],
  ['rquotaport', port('quotaPort')],
  [
    'mounthost',
    {
      value: 'required',
      hint: 'name or address',
      apply: (draft, host) => {
        draft.client.mountHost = host.replace(/^\[(.*)\]$/, '$1');
      },
    },
  ],
  [
    'proto',
    choice(
      'tcp or udp',
      {
        tcp: transport('tcp', undefined),
        udp: transport('udp', undefined),
        tcp6: transport('tcp', 6),
        udp6: transport('udp', 6),
      },
      NO_RDMA,
    ),
  ],
  ['tcp', { value: 'none', apply: transport('tcp', undefined) }],
  ['udp', { value: 'none', apply: transport('udp', undefined) }],
  ['rdma', refused('RDMA is not supported.', 'Use proto=tcp or proto=udp.')],
  [
    'nconnect',
    integer({ min: 1, max: MAX_NCONNECT, unit: 'number of connections' }, (settings, value) => {
      settings.nconnect = value;
    }),
  ],
  ['resvport', flag({ resvport: true })],
  ['noresvport', flag({ resvport: false })],

  ['vers', version],
  ['nfsvers', version],
  ['v3', ignored],
  ...['v2', 'v4', 'v4.0', 'v4.1', 'v4.2', 'minorversion'].map((name): [string, MountOption] => [
    name,
    onlyV3,
  ]),
  ['mountvers', onlyValue('3', 'NFSv3 goes with version 3 of the MOUNT protocol.')],
  ['mountproto', refused('The MOUNT protocol goes over the same transport as NFS.', 'Use proto= for both.')],

  ['hard', flag({ recovery: 'hard' })],
  ['soft', flag({ recovery: 'soft' })],
  ['softerr', flag({ recovery: 'softerr' })],
  [
    'timeo',
    integer(
      { min: 1, max: MAX_TIMEO_DECISECONDS, unit: 'number of tenths of a second' },
      (settings, value) => {
        settings.timeoMs = value * 100;
      },
    ),
  ],
  [
    'retrans',
    integer({ min: 0, max: 10_000, unit: 'number of retransmissions' }, (settings, value) => {
      settings.retrans = value;
    }),
  ],
  [
    'retry',
    integer({ min: 0, max: MAX_TIMER_MINUTES, unit: 'number of minutes' }, (settings, value) => {
      settings.retryMs = value * 60_000;
    }),
  ],
  [
    'bg',
    {
      value: 'none',
      apply: (draft) => {
        draft.background = true;
      },
    },
  ],
  [
    'fg',
    {
      value: 'none',
      apply: (draft) => {
        draft.background = false;
      },
    },
  ],

  ['rsize', transferSize('rsize')],
  ['wsize', transferSize('wsize')],
  ['readahead', memory('readAhead')],
  ['writebehind', memory('writeBehind')],
  ['attrbehind', flag({ attributesBehind: true })],
  ['noattrbehind', flag({ attributesBehind: false })],
  ['direct_io', flag({ directIo: true })],

  [
    'acregmin',
    seconds((settings, time) => {
      settings.acRegMinMs = time;
    }),
  ],
  [
    'acregmax',
    seconds((settings, time) => {
      settings.acRegMaxMs = time;
    }),
  ],
  [
    'acdirmin',
    seconds((settings, time) => {
      settings.acDirMinMs = time;
    }),
  ],
  [
    'acdirmax',
    seconds((settings, time) => {
      settings.acDirMaxMs = time;
    }),
  ],
  [
    'actimeo',
    seconds((settings, time) => {
      Object.assign(settings, { acRegMinMs: time, acRegMaxMs: time, acDirMinMs: time, acDirMaxMs: time });
    }),
  ],
  ['ac', flag({ attributeCache: true })],
  ['noac', flag({ attributeCache: false })],
  ['cto', flag({ closeToOpen: true })],
  ['nocto', flag({ closeToOpen: false })],
  ['earlyread', flag({ earlyRead: true })],
  ['noearlyread', flag({ earlyRead: false })],
  ['walkahead', flag({ walkAhead: true })],
  ['nowalkahead', flag({ walkAhead: false })],
  ['directcreate', flag({ directCreate: true })],
  ['nodirectcreate', flag({ directCreate: false })],
  [
    'lookupcache',
    choice('all, pos or none', {
      all: (draft) => {
        draft.client.lookupCache = 'all';
      },
      pos: (draft) => {
        draft.client.lookupCache = 'pos';
      },
      positive: (draft) => {
        draft.client.lookupCache = 'pos';
      },
      none: (draft) => {
        draft.client.lookupCache = 'none';
      },
    }),
  ],
  [
    'rdirplus',
    {
      value: 'optional',
      apply(draft, value) {
        if (value === undefined) draft.client.rdirplus = 'auto';
        else if (value === 'force' || value === 'none') draft.client.rdirplus = value;
        else
          throw new UserError(`rdirplus=${value} is not one of force, none.`, {
            remedy: 'Write rdirplus alone for the usual heuristic.',
          });
      },
    },
  ],
  ['nordirplus', flag({ rdirplus: 'none' })],
  ['quotadf', flag({ quotaDf: true })],
  ['noquotadf', flag({ quotaDf: false })],

  ['nlmcallback', flag({ lockCallback: true })],
  ['lock', flag({ locks: 'insist' })],
  ['nolock', flag({ locks: 'none' })],
  [
    'local_lock',
    choice('none, flock, posix or all', {
      none: localLock('none'),
      flock: localLock('flock'),
      posix: localLock('posix'),
      all: localLock('all'),
    }),
  ],
  [
    'locklost',
    choice('eio or ignore', {
      eio: (draft) => {
        draft.client.lockLost = 'eio';
      },
      ignore: (draft) => {
        draft.client.lockLost = 'ignore';
      },
    }),
  ],
  ['sec', onlyValue('sys', 'Kerberos is not supported.')],
  ['acl', refused('POSIX ACLs (the NFSACL protocol) are not supported.', 'Leave acl out.')],
  [
    'sharecache',
    refused('Each mount has a cache of its own.', 'Leave sharecache out; mount the export only once.'),
  ],
  [
    'softreval',
    refused('softreval is not supported.', 'Use soft or softerr for errors when the server is down.'),
  ],
  [
    'remount',
    {
      value: 'none',
      apply: (draft) => {
        draft.remount = true;
      },
    },
  ],
  ['bind', refused('bind is not for network file systems.', 'Use mount --bind on the mount point.')],
  ['allow_root', refused('allow_root is not supported.', 'Use allow_other.')],
  [
    'fsname',
    refused('The name in the mount table is always the server and the export.', 'Leave fsname out.'),
  ],
  ['subtype', refused('The type in the mount table is always fuse.nfs-fuse.', 'Leave subtype out.')],
]);
