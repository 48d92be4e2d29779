/** The options that are in force for a mount, defaults and what the server settled included, in the words of `-o`. */
import type { IdentityRules } from '../../vfs/caller/identity.js';
import type { ClientConfig, TransferLimits } from '../../vfs/config.js';

/** The outcome of what the options left to the server and to this machine. */
export interface Settled {
  readonly limits: TransferLimits;
  /** Of NFS. */
  readonly port: number;
  /** Locks are held at the server. */
  readonly locksAtServer: boolean;
  /** The cache on the local disk is open. */
  readonly hasDiskCache: boolean;
}

/**
 * The options of the client itself, each a word that `-o` understands, in the order of `nfsstat -m`. The kernel's own flags
 * (ro, nosuid, noatime) are not among them: those are as the table of mounts shows them, since a remount changes them there. An
 * option without a spelling for its default (directcreate: only if the server is far away), or that has no effect as the others
 * are, is left out.
 */
export function effectiveOptions(config: ClientConfig, settled: Settled): string[] {
  const seconds = (milliseconds: number) => milliseconds / 1_000;
  const { attributeCache, closeToOpen, lookupCache, rdirplus, directCreate } = config;
  return [
    'vers=3',
    `rsize=${settled.limits.rsize}`,
    `wsize=${settled.limits.wsize}`,
    config.recovery,
    `proto=${config.proto}`,
    ...(config.proto === 'tcp' ? [`nconnect=${config.nconnect}`] : []),
    `port=${settled.port}`,
    ...(config.mountHost === undefined
      ? []
      : [`mounthost=${config.mountHost.includes(':') ? `[${config.mountHost}]` : config.mountHost}`]),
    `timeo=${config.timeoMs / 100}`,
    `retrans=${config.retrans}`,
    'sec=sys',
    config.resvport ? 'resvport' : 'noresvport',
    ...(attributeCache
      ? [
          `acregmin=${seconds(config.acRegMinMs)}`,
          `acregmax=${seconds(config.acRegMaxMs)}`,
          `acdirmin=${seconds(config.acDirMinMs)}`,
          `acdirmax=${seconds(config.acDirMaxMs)}`,
          config.sync ? 'sync' : 'async',
        ]
      : ['noac']),
    closeToOpen ? 'cto' : 'nocto',
    `lookupcache=${lookupCache}`,
    rdirplus === 'auto' ? 'rdirplus' : `rdirplus=${rdirplus}`,
    settled.locksAtServer ? 'lock' : 'nolock',
    `local_lock=${config.localLock}`,
    ...(settled.locksAtServer
      ? [`locklost=${config.lockLost}`, ...(config.lockCallback ? ['nlmcallback'] : [])]
      : []),
    `readahead=${config.readAhead}`,
    `writebehind=${config.writeBehind}`,
    config.attributesBehind ? 'attrbehind' : 'noattrbehind',
    config.earlyRead ? 'earlyread' : 'noearlyread',
    ...(closeToOpen ? [] : [config.walkAhead ? 'walkahead' : 'nowalkahead']),
    ...(directCreate === 'far' ? [] : [directCreate ? 'directcreate' : 'nodirectcreate']),
    ...(config.directIo ? ['direct_io'] : []),
    ...(config.quotaDf ? ['quotadf'] : []),
    ...(settled.hasDiskCache ? diskCacheWords(config) : ['nofsc']),
    ...identityWords(config.identity),
  ];
}

/** uid=, gid=, idmap-uid=, idmap-gid=, groups= and idmapped, as a user writes them. Empty: ids are the same on both sides. */
export function identityWords(rules: IdentityRules): string[] {
  return [
    ...(['uid', 'gid'] as const).flatMap((kind) => {
      const { everybody, ranges } = rules[kind];
      return [
        ...(everybody === undefined ? [] : [`${kind}=${everybody}`]),
        ...ranges.map(({ local, server, count }) => `idmap-${kind}=${local}:${server}:${count}`),
      ];
    }),
    ...(rules.unseenGroups === undefined ? [] : [`groups=${rules.unseenGroups.join(':')}`]),
    ...(rules.idmapped === true ? ['idmapped'] : []),
  ];
}

function diskCacheWords({ diskCache, diskCacheSize }: ClientConfig): string[] {
  const folder = diskCache?.folder;
  // A comma ends an option, and quotes are removed: the backslash of libfuse keeps both.
  const escaped = folder?.replace(/[\\",]/g, '\\$&');
  return [
    escaped === undefined ? 'fsc' : `fsc=${escaped}`,
    ...(diskCacheSize === undefined ? [] : [`fscsize=${diskCacheSize}`]),
  ];
}
