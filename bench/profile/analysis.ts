/** Reads a CPU profile of nfs-fuse: its time by purpose, and the functions that took most. */

/** As V8 writes it (Chrome DevTools Protocol, Profiler.Profile). */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** Microseconds between a sample and the one before it. */
  readonly timeDeltas: readonly number[];
}

export interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

/** The purposes that nfs-fuse spends time on, in the order of the report. */
export const CATEGORIES = [
  'FUSE read',
  'FUSE write',
  'socket write',
  'event loop',
  'lib/fuse',
  'lib/vfs',
  'lib/programs, rpc, xdr',
  'Node’s JavaScript',
  'native',
  'garbage collector',
] as const;
export type Category = (typeof CATEGORIES)[number];

export interface FunctionTime {
  readonly name: string;
  /** The file, or what else it is part of. */
  readonly where: string;
  readonly seconds: number;
}

export interface ProfileSummary {
  /** Waiting for something to do. */
  readonly idleSeconds: number;
  readonly busySeconds: number;
  readonly categories: Readonly<Record<Category, number>>;
  /** Self time, most first. */
  readonly functions: readonly FunctionTime[];
}

/**
 * Sums up self times. `threadSeconds`: the thread's CPU time meanwhile. V8 takes all of the event loop's own work, such as
 * reading sockets, for idleness: it is the part of that time that the samples do not show.
 */
export function summarizeProfile(profile: CpuProfile, threadSeconds = 0): ProfileSummary {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children = [] } of profile.nodes) for (const child of children) parents.set(child, id);
  const chainOf = (id: number): ProfileNode[] => {
    const chain: ProfileNode[] = [];
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const node = nodes.get(at);
      if (node !== undefined) chain.push(node);
    }
    return chain;
  };
  const categories = Object.fromEntries(CATEGORIES.map((name) => [name, 0])) as Record<Category, number>;
  const functions = new Map<string, { name: string; where: string; seconds: number }>();
  let idleSeconds = 0;
  for (const [id, seconds] of selfTimes(profile)) {
    const chain = chainOf(id);
    const [node] = chain;
    // The profiler's own work does not count.
    if (node === undefined || chain.some(({ callFrame }) => callFrame.url === 'node:inspector')) continue;
    if (node.callFrame.functionName === '(idle)') {
      idleSeconds += seconds;
      continue;
    }
    categories[categoryOf(chain)] += seconds;
    const { name, where } = labelOf(chain);
    const key = `${name} ${where}`;
    const known = functions.get(key) ?? { name, where, seconds: 0 };
    known.seconds += seconds;
    functions.set(key, known);
  }
  const sum = () => Object.values(categories).reduce((total, one) => total + one, 0);
  const unseen = Math.max(0, threadSeconds - sum());
  categories['event loop'] = unseen;
  functions.set('event loop', { name: '(event loop)', where: 'libuv', seconds: unseen });
  return {
    idleSeconds: Math.max(0, idleSeconds - unseen),
    busySeconds: sum(),
    categories,
    functions: [...functions.values()].sort((a, b) => b.seconds - a.seconds),
  };
}

/** Node id -> seconds; what passes until the next sample belongs to a sample. */
function selfTimes({ samples, timeDeltas }: CpuProfile): Map<number, number> {
  const times = new Map<number, number>();
  samples.forEach((id, index) => {
    times.set(id, (times.get(id) ?? 0) + Math.max(0, timeDeltas[index + 1] ?? 0) / 1e6);
  });
  return times;
}

/** The file in the product that a frame is in: "lib/vfs/data/files.js". */
function productFile(url: string): string | undefined {
  return /\/dist\/(lib\/.*)$/.exec(url)?.[1];
}

/** `chain`: a frame, who called it, and so on. Native code counts for what it was called for. */
function categoryOf(chain: readonly ProfileNode[]): Category {
  const [leaf] = chain;
  const name = leaf?.callFrame.functionName;
  if (name === '(garbage collector)') return 'garbage collector';
  if (name === '(program)' || name === '(root)') return 'native';
  for (const { callFrame } of chain) {
    const { functionName, url } = callFrame;
    const file = productFile(url);
    // The wrappers of read(2) and write(2) on /dev/fuse.
    if (file === 'lib/fuse/system-calls.js' && functionName === 'readInto') return 'FUSE read';
    if (file === 'lib/fuse/system-calls.js' && functionName === 'writeFrom') return 'FUSE write';
    if (file === 'lib/fuse/session/channel/device.js' && functionName === 'writePieces') return 'FUSE write';
    if (leaf?.callFrame.url === '' && /^node:(net|internal\/stream_base_commons)$/.test(url)) {
      return 'socket write';
    }
    if (url.startsWith('node:')) {
      // Work that the product has Node do synchronously shows further up; the rest is Node's.
      if (url === 'node:fs' || url === 'node:buffer') continue;
      return 'Node’s JavaScript';
    }
    if (file?.startsWith('lib/fuse/')) return 'lib/fuse';
    if (file?.startsWith('lib/vfs/')) return 'lib/vfs';
    if (file !== undefined) return 'lib/programs, rpc, xdr';
  }
  return 'native';
}

function labelOf(chain: readonly ProfileNode[]): { name: string; where: string } {
  const frame = chain[0]?.callFrame;
  const name = frame?.functionName || '(anonymous)';
  const url = frame?.url ?? '';
  if (url !== '') return { name, where: productFile(url) ?? url.replace(/^.*\/node_modules\//, '') };
  if (name.startsWith('(')) return { name, where: 'V8' };
  const caller = chain.find(({ callFrame }) => callFrame.url !== '')?.callFrame;
  const from = caller?.functionName || '(anonymous)';
  const where = caller === undefined ? '' : (productFile(caller.url) ?? caller.url);
  // Calls through koffi all go by the name of one of them.
  if (where === 'lib/fuse/system-calls.js') return { name: from, where: `the system call, ${where}` };
  return { name, where: `native, from ${from} in ${where}` };
}
