/**
 * `-o` of mount(8) and nfs(5): from text to a validated client configuration and what the FUSE mount needs.
 * The options themselves are in mount-option-table.ts; here are their order, and the rules between them.
 */

import { nearestName } from '../../base/nearest-name.js';
import { shownName } from '../../base/shown-name.js';
import { UserError } from '../../base/user-error.js';
import type { FlagWishes, SecurityLabels } from '../../fuse/index.js';
import { type ClientConfig, DEFAULT_CONFIG } from '../../vfs/config.js';
import { checkDiskCache } from './disk-cache-options.js';
import { checkIdentityOptions } from './identity-options.js';
import { memoryBudgets } from './memory-budgets.js';
import { memoryLimit } from './memory-limit.js';
import { MOUNT_OPTIONS } from './mount-option-table.js';
import { parseMountTarget } from './mount-target.js';
import type { Draft, MountOption } from './option-kinds.js';
import { splitOptionList } from './option-list.js';
import { checkLabels, restOfContext } from './selinux-options.js';

/** The options of the FUSE mount. */
export interface FuseMountOptions {
  readonly allowOther: boolean;
  readonly defaultPermissions: boolean;
  /** noexec: the kernel refuses to run programs from the mount. */
  readonly noExec: boolean;
  /** The flags to ask of the kernel; suid and dev are among them only if {@link grantFlags} has allowed them. */
  readonly flags: FlagWishes;
  /** Every FUSE request and reply is written to the log. */
  readonly debug: boolean;
  /** The labels of SELinux that the mount is to have. */
  readonly labels: SecurityLabels;
}

export interface MountRequest {
  readonly client: ClientConfig;
  readonly fuse: FuseMountOptions;
  /** As the mount table shows it. */
  readonly source: string;
  /** proto=tcp6 and udp6: only addresses of this family are used. */
  readonly addressFamily: 4 | 6 | undefined;
  /** nfs(5) bg: if the server does not answer yet, attempts go on after the command has returned. */
  readonly background: boolean;
  /** The options change an existing mount. */
  readonly remount: boolean;
  /** The options as they were given. */
  readonly options: readonly string[];
  /** Messages about options that are accepted but do not have the effect that the user asked for. */
  readonly notes: readonly string[];
}

/** `retry` of nfs(5) for bg: 10 000 minutes. */
const BACKGROUND_RETRY_MS = 10_000 * 60_000;
/** Options of fuse(4) that mountinfo shows of a mount, and that mount(8) hands over when it is remounted. */
export const KERNELS_OWN: ReadonlySet<string> = new Set([
  'fd',
  'rootmode',
  'user_id',
  'group_id',
  'max_read',
  'blksize',
]);
/** nfs(5): UDP's own defaults. */
const UDP_TIMEO_MS = 1_100;
const UDP_RETRANS = 3;

/**
 * Reads a target and the texts of all `-o` options, of which the last one wins.
 * Throws UserError for options that are unknown, contradict each other, or have a value out of their range.
 */
export function parseMountRequest(target: string, optionTexts: readonly string[]): MountRequest {
  const { host, exportPath, port, source } = parseMountTarget(target);
  const draft = readOptions(optionTexts);
  const { client: chosen } = draft;
  checkIdentityOptions(chosen.identity);
  checkLabels(draft.fuse.labels);

  // In the background nobody waits, so attempts go on for long. In the foreground a wrong port must not cost two minutes.
  const retryMs = chosen.retryMs ?? (draft.background ? BACKGROUND_RETRY_MS : 0);
  const proto = chosen.proto ?? DEFAULT_CONFIG.proto;
  const attributeCache = chosen.attributeCache ?? true;
  const times = attributeTimes(chosen);
  const client: ClientConfig = {
    ...DEFAULT_CONFIG,
    ...memoryBudgets(memoryLimit()),
    ...(proto === 'udp' ? { timeoMs: UDP_TIMEO_MS, retrans: UDP_RETRANS } : {}),
    ...chosen,
    ...times,
    ...checkDiskCache(chosen, { attributeCache, ...times }, draft.notes),
    port: chosen.port ?? port,
    retryMs,
    // nfs(5): noac forces application writes to become synchronous.
    sync: (chosen.sync ?? false) || !attributeCache,
    kernelChecks: draft.fuse.defaultPermissions || draft.fuse.allowOther,
    host,
    exportPath,
  };
  if (proto === 'udp' && client.nconnect > 1)
    throw new UserError('nconnect is for TCP: over UDP there are no connections.', {
      remedy: 'Leave out nconnect, or use proto=tcp.',
    });
  return {
    client,
    fuse: { ...draft.fuse, flags: Object.fromEntries(draft.flags) },
    source,
    addressFamily: draft.addressFamily,
    background: draft.background,
    remount: draft.remount,
    options: optionTexts,
    notes: draft.notes,
  };
}

function readOptions(optionTexts: readonly string[]): Draft {
  const draft: Draft = {
    client: {},
    fuse: { allowOther: false, defaultPermissions: false, noExec: false, debug: false, labels: {} },
    flags: new Map(),
    addressFamily: undefined,
    background: false,
    remount: false,
    notes: [],
  };
  const listed = optionTexts.flatMap(splitOptionList);
  const sloppy = listed.some((option) => option.name === 'sloppy');
  const remount = listed.some((option) => option.name === 'remount');
  for (const [index, { name, value }] of listed.entries()) {
    // Options such as x-systemd.automount and x-gvfs-hide are for other programs (mount(8)).
    if (/^x-/i.test(name)) continue;
    if (remount && KERNELS_OWN.has(name)) continue;
    const option = MOUNT_OPTIONS.get(name);
    if (option === undefined) {
      if (!sloppy) throw unknownOption(name, listed[index - 1]?.name);
      draft.notes.push(`The unknown mount option "${shownName(name)}" is ignored (sloppy).`);
      continue;
    }
    apply(option, draft, name, value);
  }
  return draft;
}

function apply(option: MountOption, draft: Draft, name: string, value: string | undefined): void {
  if (option.value === 'none') {
    if (value !== undefined)
      throw new UserError(`The mount option "${name}" takes no value, but got "${shownName(value)}".`, {
        remedy: `Write ${name} alone.`,
      });
    option.apply(draft);
    return;
  }
  if (option.value === 'optional') {
    option.apply(draft, value);
    return;
  }
  if (value === undefined || value === '')
    throw new UserError(`The mount option "${name}" needs a value.`, {
      remedy: `Write ${name}=${option.hint}.`,
    });
  option.apply(draft, value, name);
}

function unknownOption(name: string, before: string | undefined): UserError {
  const nearest = nearestName(name, MOUNT_OPTIONS.keys());
  return new UserError(`The mount option "${shownName(name)}" is unknown.`, {
    remedy:
      restOfContext(name, before) ??
      (nearest === undefined
        ? 'The README lists the mount options; sloppy ignores unknown ones.'
        : `Did you mean "${nearest}"? (The README lists the mount options.)`),
  });
}

type AttributeTimes = Pick<ClientConfig, 'acRegMinMs' | 'acRegMaxMs' | 'acDirMinMs' | 'acDirMaxMs'>;

/** If one limit is given, the default of the other one follows it. If both are given, they must agree. */
function attributeTimes(chosen: Draft['client']): AttributeTimes {
  const [acRegMinMs, acRegMaxMs] = order(
    ['acregmin', chosen.acRegMinMs, DEFAULT_CONFIG.acRegMinMs],
    ['acregmax', chosen.acRegMaxMs, DEFAULT_CONFIG.acRegMaxMs],
  );
  const [acDirMinMs, acDirMaxMs] = order(
    ['acdirmin', chosen.acDirMinMs, DEFAULT_CONFIG.acDirMinMs],
    ['acdirmax', chosen.acDirMaxMs, DEFAULT_CONFIG.acDirMaxMs],
  );
  return { acRegMinMs, acRegMaxMs, acDirMinMs, acDirMaxMs };
}

type Limit = readonly [name: string, chosen: number | undefined, standard: number];

function order(min: Limit, max: Limit): [number, number] {
  const [minName, chosenMin, standardMin] = min;
  const [maxName, chosenMax, standardMax] = max;
  if (chosenMin !== undefined && chosenMax !== undefined) {
    if (chosenMin > chosenMax)
      throw new UserError(
        `${minName}=${chosenMin / 1000} is larger than ${maxName}=${chosenMax / 1000} (seconds).`,
        { remedy: `Make ${minName} the smaller one, or set all of them with actimeo=seconds.` },
      );
    return [chosenMin, chosenMax];
  }
  if (chosenMin !== undefined) return [chosenMin, Math.max(chosenMin, standardMax)];
  if (chosenMax !== undefined) return [Math.min(standardMin, chosenMax), chosenMax];
  return [standardMin, standardMax];
}
