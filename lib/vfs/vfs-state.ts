/** The parts that one mount is put together from. Owns nothing but how they are wired: each part says what it needs. */
import type { Clock } from '../base/clock.js';
import type { Logger } from '../base/log.js';
import type { Fattr3 } from '../programs/nfs3/index.js';
import { CurrentAttributes } from './attributes/current-attributes.js';
import { SettingEvidence } from './attributes/setting-evidence.js';
import { AttributeCache, type CallStart } from './cache/attribute-cache.js';
import { DentryCache } from './cache/dentry-cache.js';
import type { InodeTable } from './cache/inode-table.js';
import { OpenObjects } from './cache/open-objects.js';
import type { Identity } from './caller/identity.js';
import type { ClientConfig, TransferLimits } from './config.js';
import type { VfsCounters } from './counters.js';
import { PlusSupport } from './directories/plus-support.js';
import type { CacheFolder } from './disk-cache/cache-folder.js';
import { DiskCache } from './disk-cache/disk-cache.js';
import type { Handover } from './handover/handover.js';
import { ForeignChanges } from './kernel/foreign-changes.js';
import { KernelReplies } from './kernel/kernel-replies.js';
import { KernelView } from './kernel/kernel-view.js';
import type { MemoryReturn } from './kernel/memory-return.js';
import { ToldCloses } from './kernel/told-closes.js';
import type { ByteBudget } from './memory/byte-budget.js';
import { TransferMemory } from './memory/transfer-memory.js';
import { Binding } from './names/name-binding.js';
import type { QuotaLimits } from './quota/quota-limits.js';
import { Exchange } from './remote/exchange.js';
import type { NfsClient } from './remote/nfs-client.js';
import { Redriver, type RootFinder } from './remote/redrive.js';
import { ServerRestarts } from './remote/server-restarts.js';
import { Overtaking } from './write-behind/overtaking.js';
import type { FileWriter } from './write-behind/write-behind.js';

/** The parts that come from outside: the options, the connection, and the surroundings. */
export interface VfsParts {
  readonly config: ClientConfig;
  /** Undefined: the server's ids are this machine's. */
  readonly identity?: Identity | undefined;
  readonly limits: TransferLimits;
  readonly nfs: NfsClient;
  readonly inodes: InodeTable;
  readonly rootFinder: RootFinder;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counters: VfsCounters;
  /** See KernelReplies. */
  readonly generation: number;
  readonly memoryReturn?: MemoryReturn | undefined;
  readonly restarts?: ServerRestarts | undefined;
  readonly readBudget: ByteBudget;
  readonly writeBudget: ByteBudget;
  /** Where data stays on the local disk, and the port of NFS of this server. Undefined: it does not. */
  readonly disk?: { readonly folder: CacheFolder; readonly port: number } | undefined;
  /** Undefined: no other process could go on with this mount. */
  readonly records?: Handover | undefined;
  /** Undefined: statfs(2) does not go by quotas. */
  readonly quotas?: QuotaLimits | undefined;
}

export class VfsState {
  readonly config: ClientConfig;
  readonly identity: Identity | undefined;
  readonly limits: TransferLimits;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counters: VfsCounters;
  readonly nfs: NfsClient;
  readonly inodes: InodeTable;
  readonly open: OpenObjects;
  readonly closes: ToldCloses;
  readonly dentries: DentryCache;
  readonly attributes: AttributeCache;
  readonly kernel: KernelView;
  readonly foreign: ForeignChanges;
  readonly replies: KernelReplies;
  readonly redriver: Redriver;
  readonly exchange: Exchange;
  readonly current: CurrentAttributes;
  readonly binding: Binding;
  readonly plus = new PlusSupport();
  readonly evidence = new SettingEvidence();
  readonly overtaking = new Overtaking();
  readonly memory: TransferMemory<FileWriter>;
  readonly memoryReturn: MemoryReturn | undefined;
  readonly restarts: ServerRestarts;
  readonly records: Handover | undefined;
  /** Undefined: nothing stays on the local disk. */
  readonly disk: DiskCache | undefined;
  readonly quotas: QuotaLimits | undefined;

  constructor(parts: VfsParts) {
    const { config, identity, limits, nfs, inodes, clock, log, counters, memoryReturn, generation } = parts;
    this.config = config;
    this.identity = identity;
    this.limits = limits;
    this.nfs = nfs;
    this.inodes = inodes;
    this.clock = clock;
    this.log = log;
    this.counters = counters;
    this.memoryReturn = memoryReturn;
    this.records = parts.records;
    this.quotas = parts.quotas;
    this.restarts = parts.restarts ?? new ServerRestarts();
    this.memory = new TransferMemory(parts.readBudget, parts.writeBudget, limits.wsize);
    this.open = new OpenObjects(inodes);
    this.closes = new ToldCloses(config);
    this.dentries = new DentryCache();
    this.dentries.onMoved = (inode) => inodes.moved(inode);
    this.kernel = new KernelView(clock, this.dentries);
    const { kernel, dentries } = this;
    inodes.onDropped((inode) => {
      dentries.forget(inode);
      memoryReturn?.dropped();
    });
    const events = new ForeignChanges({ inodes, kernel, attributes: () => this.attributes });
    this.foreign = events;
    this.attributes = new AttributeCache(config, () => clock.now(), counters.attributes, events);
    const { attributes } = this;
    const { rootFinder } = parts;
    this.redriver = new Redriver({ nfs, inodes, attributes, rootFinder, counters, log, events });
    this.exchange = new Exchange(attributes, this.redriver);
    const { redriver, exchange } = this;
    this.replies = new KernelReplies({
      config,
      inodes,
      attributes,
      kernel,
      identity,
      generation,
      blockSize: limits.wsize,
    });
    const sawRoot = (shown: Fattr3): void => this.replies.sawRoot(shown);
    this.current = new CurrentAttributes({ nfs, attributes, redriver, exchange, counters, sawRoot });
    this.disk = parts.disk && new DiskCache(this, parts.disk.folder, parts.disk.port);
    this.binding = new Binding({ inodes, dentries, attributes, redriver });
  }

  /** The root's attributes, which came with the mount. */
  adoptRoot(attributes: Fattr3, start: CallStart): void {
    this.replies.sawRoot(attributes);
    this.attributes.observe(this.inodes.root, attributes, start);
  }
}
