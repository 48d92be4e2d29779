/**
 * The knowledge that programs have of their files: the objects as they must be, and what may have been lost with a process. Owns the rules of
 * errors: a descriptor gets EIO only if data of its file could be lost since it was told last, and all of them get it if one does.
 */

const EIO = 5;

/** A descriptor of a program. */
export interface Descriptor {
  readonly fh: number;
  readonly nodeid: number;
  readonly file: ProgramFile;
  readonly flags: number;
  /** The deaths with which data may have been lost, and of which it was told nothing. */
  readonly untold: Set<number>;
  /** Another descriptor was told of a loss: this one must be. */
  owed: boolean;
}

export class ProgramFile {
  readonly kind = 'file';
  bytes = Buffer.alloc(0);
  /** Written, and not known to be on stable storage. */
  unsynced = false;
  /** A process has died with unsynced data, and nobody knows yet what came of it. */
  doubtful = false;
  /** Undefined: it is not known. */
  mode: number | undefined = undefined;
  /** The time in seconds that a program has set, and none has written since. */
  mtime: number | undefined = undefined;
  readonly open = new Set<Descriptor>();
}

export interface ProgramLink {
  readonly kind: 'symlink';
  readonly target: string;
}

export class ProgramDirectory {
  readonly kind = 'directory';
  readonly entries = new Map<string, ProgramObject>();
}

export type ProgramObject = ProgramFile | ProgramLink | ProgramDirectory;

const isWritable = ({ flags }: Descriptor): boolean => (flags & 3) !== 0;

/** A process has died. */
export function lostWith(death: number, files: Iterable<ProgramFile>): void {
  for (const file of files) {
    if (!file.unsynced) continue;
    file.doubtful = true;
    for (const one of file.open) if (isWritable(one)) one.untold.add(death);
  }
}

/** Runs a write, fsync or close of a descriptor. False: the program is told rightly that data is lost. Throws any other error. */
export async function tells(descriptor: Descriptor, work: () => Promise<unknown>): Promise<boolean> {
  const { file, untold } = descriptor;
  try {
    await work();
  } catch (error) {
    if ((error as { errno?: number }).errno !== EIO) throw error;
    if (untold.size === 0) throw new Error('a descriptor got EIO that had lost nothing', { cause: error });
    const deaths = [...untold].join();
    untold.clear();
    descriptor.owed = false;
    file.doubtful = true;
    for (const other of file.open)
      if (untold.size === 0 && [...other.untold].join() === deaths && !deaths.includes(','))
        other.owed = true;
    return false;
  }
  if (descriptor.owed) throw new Error('a descriptor was not told of a loss that another one was told of');
  return true;
}

/** fsync(2) or close(2) of this descriptor succeeded: what was lost since it was opened would have been told. */
export function synced(descriptor: Descriptor): void {
  const { file, untold } = descriptor;
  if (file.doubtful && untold.size === 0) return;
  // It would have been told: nothing was lost with these processes.
  if (file.doubtful)
    for (const one of file.open)
      if (one !== descriptor && !one.owed) for (const death of untold) one.untold.delete(death);
  untold.clear();
  // A loss from before this descriptor was opened is still to be told to others.
  if ([...file.open].some((one) => one.untold.size > 0)) return;
  file.unsynced = false;
  file.doubtful = false;
}
