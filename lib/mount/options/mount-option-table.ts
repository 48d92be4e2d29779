/** Every mount option by its name in nfs(5), mount(8) or fuse(8): what it takes, and what it changes. */

import { UserError } from '../../base/user-error.js';
import type { KernelFlag } from '../../fuse/index.js';
import type { ClientConfig } from '../../vfs/config.js';
import { IDENTITY_OPTIONS } from './identity-options.js';

/** What the options read so far have chosen; later ones overwrite it. */
export interface Draft {
  client: { -readonly [Key in keyof Omit<ClientConfig, 'host' | 'exportPath'>]?: ClientConfig[Key] };
  fuse: { allowOther: boolean; defaultPermissions: boolean; noExec: boolean; debug: boolean };
  /** The flags asked of the kernel, ordered by the last mention of each. */
  flags: Map<KernelFlag, boolean>;
  /** An existing mount is to be changed. */
  remount: boolean;
  addressFamily: 4 | 6 | undefined;
  background: boolean;
  notes: string[];
}

export type MountOption =
  | { readonly value: 'none'; apply(draft: Draft): void }
  | { readonly value: 'optional'; apply(draft: Draft, value: string | undefined): void }
  | {
      readonly value: 'required';
      /** What to write behind the `=`: "seconds". */
      readonly hint: string;
      apply(draft: Draft, value: string, name: string): void;
    };

type Settings = Draft['client'];

/** nfs(5): smaller than the first becomes the second, larger than the third becomes the third. */
const MIN_TRANSFER = 1024;
const SMALL_TRANSFER_BECOMES = 4096;
const MAX_TRANSFER = 1_048_576;
/** A timer of Node holds no more milliseconds than 2^31 - 1. */
const MAX_TIMER_SECONDS = 2_147_483;
const MAX_TIMER_MINUTES = 35_791;
/** nfs(5): "up to the maximum of 600 seconds". */
const MAX_TIMEO_DECISECONDS = 6000;
const MAX_NCONNECT = 16;

/** Set these fields, and nothing else. */
function flag(settings: Settings): MountOption {
  return { value: 'none', apply: (draft) => void Object.assign(draft.client, settings) };
}

function fuseFlag(settings: Partial<Draft['fuse']>): MountOption {
  return { value: 'none', apply: (draft) => void Object.assign(draft.fuse, settings) };
}

/** Accepted because mount(8) or fstab hand it over, and of no meaning here. */
const ignored: MountOption = { value: 'optional', apply() {} };

function refused(message: string, remedy: string): MountOption {
  return {
    value: 'optional',
    apply() {
      throw new UserError(message, { remedy });
    },
  };
}

function integer(
  range: { readonly min: number; readonly max: number; readonly unit: string },
  set: (settings: Settings, value: number) => void,
): MountOption {
  return {
    value: 'required',
    hint: range.unit,
    apply(draft, text, name) {
      const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      if (!(value >= range.min && value <= range.max))
        throw new UserError(`${name}=${text} is not a number from ${range.min} to ${range.max}.`, {
          remedy: `${name} is a ${range.unit}.`,
        });
      set(draft.client, value);
    },
  };
}

function choice(
  hint: string,
  choices: Readonly<Record<string, (draft: Draft) => void>>,
  otherwise = '',
): MountOption {
  return {
    value: 'required',
    hint,
    apply(draft, text, name) {
      const chosen = Object.hasOwn(choices, text) ? choices[text] : undefined;
      if (chosen === undefined)
        throw new UserError(`${name}=${text} is not one of ${Object.keys(choices).join(', ')}.${otherwise}`, {
          remedy: `Write ${name}=${hint}.`,
        });
      chosen(draft);
    },
  };
}

function seconds(set: (settings: Settings, milliseconds: number) => void): MountOption {
  return integer({ min: 0, max: MAX_TIMER_SECONDS, unit: 'number of seconds' }, (settings, value) =>
    set(settings, value * 1000),
  );
}

function transferSize(key: 'rsize' | 'wsize'): MountOption {
  return integer({ min: 0, max: 2 ** 32 - 1, unit: 'number of bytes' }, (settings, value) => {
    if (value < MIN_TRANSFER) settings[key] = SMALL_TRANSFER_BECOMES;
    else settings[key] = Math.min(MAX_TRANSFER, value - (value % 1024));
  });
}

/** For the whole mount; 0 turns off what the memory is for. */
function memory(key: 'readAhead' | 'writeBehind'): MountOption {
  return integer({ min: 0, max: 2 ** 32 - 1, unit: 'number of bytes' }, (settings, value) => {
    settings[key] = value;
  });
}

/** nfs(5): 0 means the same as no option at all, "ask rpcbind". */
function port(key: 'port' | 'mountPort'): MountOption {
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

const networkLocks = refused(
  'Locks over the network (NLM) are not supported: fcntl and flock locks hold between the programs of this machine only.',
  'Leave the option out, or write nolock to say that this is what you want.',
);

const localLock = choice(
  'all',
  { all: () => {} },
  ' Locks over the network (NLM) are not supported, so all locks are local.',
);

function onlyValue(value: string, message: string): MountOption {
  return choice(value, { [value]: () => {} }, ` ${message}`);
}

/** `user`, `_netdev`, … : what fstab says to mount(8), systemd and others, and flags that the kernel ignores by now. */
const IGNORED = [
  'defaults auto noauto user nouser users owner group _netdev nofail comment',
  'iversion noiversion mand nomand silent loud',
  // nfs(5): "ignored after kernel 2.6.25".
  'intr nointr',
  'nosharecache nofsc noacl nosoftreval nolock sloppy',
].flatMap((names) => names.split(' '));
export const IGNORED_OPTIONS: ReadonlySet<string> = new Set([...IGNORED, 'v3']);

/** The flags of mount(8) that the kernel obeys, and what each says of which of them. */
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

/** Some of them mean something to us as well. */
function kernelFlag(name: KernelFlag, wanted: boolean): MountOption {
  return {
    value: 'none',
    apply(draft) {
      draft.flags.delete(name);
      draft.flags.set(name, wanted);
      if (name === 'ro') draft.client.readOnly = wanted;
      if (name === 'sync') draft.client.sync = wanted;
      if (name === 'noexec') draft.fuse.noExec = wanted;
    },
  };
}

export const MOUNT_OPTIONS: ReadonlyMap<string, MountOption> = new Map<string, MountOption>([
  ...IGNORED.map((name): [string, MountOption] => [name, ignored]),

  ...Object.entries(KERNEL_OPTIONS).map(([name, wish]): [string, MountOption] => [name, kernelFlag(...wish)]),
  ['allow_other', fuseFlag({ allowOther: true })],
  ['default_permissions', fuseFlag({ defaultPermissions: true })],
  ['debug', fuseFlag({ debug: true })],

  ...IDENTITY_OPTIONS,

  ['port', port('port')],
  ['mountport', port('mountPort')],
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

  ['lock', networkLocks],
  ['local_lock', localLock],
  ['sec', onlyValue('sys', 'Kerberos is not supported.')],
  ['acl', refused('POSIX ACLs (the NFSACL protocol) are not supported.', 'Leave acl out.')],
  ['fsc', refused('A cache on the local disk is not supported.', 'Leave fsc out.')],
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
