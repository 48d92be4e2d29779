/**
 * The results of operations on a tree of files by POSIX: the reference that a mount is compared with. Names map to
 * nodes, nodes outlive their names while they are open, and every failure has its errno.
 *
 * It knows only what the workload needs: no permissions, no times, and symbolic links are never followed.
 */

export class ModelFile {
  readonly kind = 'file';
  data: Buffer = Buffer.alloc(0);
  names = 0;
  /** Descriptors that refer to it. */
  opens = 0;
  /** The directory in which the client keeps it under a silly name, once it was unlinked while open. */
  sillyIn: ModelDirectory | undefined;
}

export class ModelLink {
  readonly kind = 'link';
  constructor(readonly target: string) {}
}

export class ModelDirectory {
  readonly kind = 'directory';
  readonly entries = new Map<string, ModelNode>();
  /** Silly names in it: the server does not take it for empty. */
  silly = 0;

  get isEmpty(): boolean {
    return this.entries.size === 0;
  }
}

export type ModelNode = ModelFile | ModelLink | ModelDirectory;

/** A name in a directory; the directory exists. */
export interface Where {
  readonly directory: ModelDirectory;
  readonly name: string;
}

/** The errno's name, or undefined for success. */
export type Outcome = string | undefined;

export function nodeAt({ directory, name }: Where): ModelNode | undefined {
  return directory.entries.get(name);
}

/** open(2) with O_CREAT and perhaps O_EXCL: the file, or the errno. */
export function create(where: Where, exclusive: boolean): ModelFile | string {
  const node = nodeAt(where);
  if (node === undefined) {
    const file = new ModelFile();
    file.names = 1;
    where.directory.entries.set(where.name, file);
    return file;
  }
  if (exclusive) return 'EEXIST';
  return node.kind === 'file' ? node : 'EISDIR';
}

export function write(file: ModelFile, offset: number, data: Buffer): void {
  const end = offset + data.length;
  // Descriptors share the node, so that the content may be replaced.
  if (end > file.data.length) resize(file, end);
  else file.data = Buffer.from(file.data);
  data.copy(file.data, offset);
}

/** truncate(2): added bytes read as zeros. */
export function resize(file: ModelFile, size: number): void {
  const data = Buffer.alloc(size);
  file.data.copy(data);
  file.data = data;
}

export function mkdir(where: Where): Outcome {
  if (nodeAt(where) !== undefined) return 'EEXIST';
  where.directory.entries.set(where.name, new ModelDirectory());
  return undefined;
}

export function symlink(where: Where, target: string): Outcome {
  if (nodeAt(where) !== undefined) return 'EEXIST';
  where.directory.entries.set(where.name, new ModelLink(target));
  return undefined;
}

export function rmdir(where: Where): Outcome {
  const node = nodeAt(where);
  if (node === undefined) return 'ENOENT';
  if (node.kind !== 'directory') return 'ENOTDIR';
  if (!node.isEmpty) return 'ENOTEMPTY';
  where.directory.entries.delete(where.name);
  return undefined;
}

export function unlink(where: Where): Outcome {
  const node = nodeAt(where);
  if (node === undefined) return 'ENOENT';
  if (node.kind === 'directory') return 'EISDIR';
  takeName(where, node);
  return undefined;
}

export function link(from: Where, to: Where): Outcome {
  const node = nodeAt(from);
  if (node === undefined) return 'ENOENT';
  if (nodeAt(to) !== undefined) return 'EEXIST';
  if (node.kind !== 'file') return 'EPERM';
  node.names += 1;
  to.directory.entries.set(to.name, node);
  return undefined;
}

export function rename(from: Where, to: Where): Outcome {
  const moved = nodeAt(from);
  const target = nodeAt(to);
  if (moved === undefined) return 'ENOENT';
  if (moved.kind === 'directory' && contains(moved, to.directory)) return 'EINVAL';
  if (target?.kind === 'directory' && contains(target, from.directory)) return 'ENOTEMPTY';
  if (moved === target) return undefined;
  if (target !== undefined) {
    if (moved.kind === 'directory' && target.kind !== 'directory') return 'ENOTDIR';
    if (moved.kind !== 'directory' && target.kind === 'directory') return 'EISDIR';
    if (target.kind === 'directory' && !target.isEmpty) return 'ENOTEMPTY';
    if (target.kind !== 'directory') takeName(to, target);
  }
  from.directory.entries.delete(from.name);
  to.directory.entries.set(to.name, moved);
  return undefined;
}

/** The last descriptor is closed: a silly name goes with it. */
export function closed(file: ModelFile): void {
  file.opens -= 1;
  if (file.opens > 0 || file.sillyIn === undefined) return;
  file.sillyIn.silly -= 1;
  file.sillyIn = undefined;
}

function takeName({ directory, name }: Where, node: ModelFile | ModelLink): void {
  directory.entries.delete(name);
  if (node.kind !== 'file') return;
  node.names -= 1;
  if (node.opens === 0 || node.sillyIn !== undefined) return;
  node.sillyIn = directory;
  directory.silly += 1;
}

/** Whether `inner` is `outer` or below it. */
function contains(outer: ModelDirectory, inner: ModelDirectory): boolean {
  if (outer === inner) return true;
  return [...outer.entries.values()].some((node) => node.kind === 'directory' && contains(node, inner));
}

/** Every directory at or below `top`, with its path below it ("" for itself). */
export function directories(top: ModelDirectory, path = ''): { path: string; directory: ModelDirectory }[] {
  const below = [...top.entries].flatMap(([name, node]) =>
    node.kind === 'directory' ? directories(node, path === '' ? name : `${path}/${name}`) : [],
  );
  return [{ path, directory: top }, ...below];
}
