/**
 * How one program walks a tree: which directories it knows and has not opened yet, and in which order it takes them.
 * Owns the guess which of them come next, and how much that guess may cost.
 *
 * Programs go depth-first (find, du, ls -R, tar, git) or breadth-first (rsync, bfs), and take the names in the order of the
 * listing, of their bytes, or of their letters. Each of these is followed beside the others; the one that has been right
 * longest is believed.
 */
import type { FileName } from '../../programs/nfs3/index.js';
import type { Inode } from '../cache/inode.js';

/** A directory within another. */
export interface Subdirectory {
  readonly inode: Inode;
  readonly name: FileName;
}

/** The order of names in a listing. Undefined: as the server sent them. */
type Order = ((a: FileName, b: FileName) => number) | undefined;

/** As with LC_ALL=C. A name has one character per byte. */
const byBytes: Order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
/** As in most other locales, roughly: letters of both cases beside each other. */
const byLetters: Order = (a, b) => byBytes(a.toLowerCase() as FileName, b.toLowerCase() as FileName);

const ORDERS: readonly Order[] = [undefined, byBytes, byLetters];

/** A program that goes past so many directories leaves some out; past more, it goes another way. */
const MOST_LEFT_OUT = 8;
/** A directory that was listed in vain costs as much as so many that were opened as expected have earned. */
const COST_IN_VAIN = 2;
/** Directories that one program is known to have before it, at the most. */
const MOST_KNOWN = 32_768;

/** A directory whose subdirectories are known, or will be once it has been read. */
class Branch {
  readonly inode: Inode;
  readonly above: Branch | undefined;
  /** Subdirectories that have not been opened. */
  left = 0;
  #children: readonly Subdirectory[] = [];
  /** In each of {@link ORDERS}, and where the program has come to in it. */
  readonly #sorted: { readonly inodes: readonly Inode[]; at: number }[] = [];

  constructor(inode: Inode, above: Branch | undefined) {
    this.inode = inode;
    this.above = above;
  }

  list(children: readonly Subdirectory[]): void {
    this.#children = children;
    this.#sorted.length = 0;
    this.left = children.length;
  }

  #in(order: number): { readonly inodes: readonly Inode[]; at: number } {
    const known = this.#sorted[order];
    if (known !== undefined) return known;
    const children = [...this.#children];
    const compare = ORDERS[order];
    if (compare !== undefined) children.sort((a, b) => compare(a.name, b.name));
    const sorted = { inodes: children.map(({ inode }) => inode), at: 0 };
    this.#sorted[order] = sorted;
    return sorted;
  }

  /** The subdirectories behind the one that was opened last, with those that were opened out of turn. */
  *following(order: number): Generator<Inode> {
    const { inodes, at } = this.#in(order);
    for (let index = at; index < inodes.length; index++) {
      const inode = inodes[index];
      if (inode !== undefined) yield inode;
    }
  }

  /** The program has opened one of them: it does not come back to what it has left out. */
  opened(inode: Inode): void {
    this.left--;
    for (const order of ORDERS.keys()) {
      const sorted = this.#in(order);
      const index = sorted.inodes.indexOf(inode, sorted.at);
      if (index >= 0) sorted.at = index + 1;
    }
  }

  get children(): readonly Subdirectory[] {
    return this.#children;
  }
}

/** A way to walk, and how often in a row it has told which directory is opened next. */
interface Way {
  readonly order: number;
  readonly breadthFirst: boolean;
  right: number;
}

export class WalkPattern {
  /** Directories that hold others, or may. */
  readonly #branches = new Map<Inode, Branch>();
  /** Where each directory is that is known and has not been opened. */
  readonly #within = new Map<Inode, Branch>();
  /** Of the branches, those that were opened, in that order. */
  readonly #line = new Set<Branch>();
  readonly #ways: readonly Way[] = [false, true].flatMap((breadthFirst) =>
    [...ORDERS.keys()].map((order) => ({ order, breadthFirst, right: 0 })),
  );
  /** The directory that was opened last. */
  #at: Branch;
  #credit = 0;

  /** The walk begins, as it seems, with this directory. */
  constructor(root: Inode) {
    this.#at = new Branch(root, undefined);
    this.#branches.set(root, this.#at);
    this.#line.add(this.#at);
  }

  /** How many directories may be listed that are not opened in the end: fewer than were opened as expected. */
  get credit(): number {
    return this.#credit;
  }

  /** The walk may go on with this directory. */
  knows(inode: Inode): boolean {
    return this.#within.has(inode);
  }

  /** A directory that was listed ahead was not opened. */
  wasInVain(): void {
    this.#credit = Math.max(0, this.#credit - COST_IN_VAIN);
  }

  /** The program opens a directory; one that is not known here is none of this walk's. */
  open(inode: Inode): void {
    const above = this.#within.get(inode);
    if (above === undefined) return;
    let asExpected = false;
    for (const way of this.#ways) {
      const distance = this.#distance(way, inode);
      if (distance === 0) {
        way.right++;
        asExpected = true;
      } else if (distance === undefined) way.right = 0;
    }
    if (asExpected) this.#credit++;
    else if (this.#best === undefined) this.#credit = 0;
    this.#leaveBefore(above);
    this.#within.delete(inode);
    above.opened(inode);
    if (above.left === 0) this.#leave(above);
    this.#at = this.#branches.get(inode) ?? new Branch(inode, above);
    this.#branches.set(inode, this.#at);
    this.#line.add(this.#at);
  }

  /** How many others come before it; undefined: many, or it does not come. */
  #distance(way: Way, inode: Inode): number | undefined {
    let distance = 0;
    for (const expected of this.#expectedBy(way)) {
      if (expected === inode) return distance;
      if (++distance > MOST_LEFT_OUT) break;
    }
    return undefined;
  }

  /** The program has come to `branch`, past all that it has not opened before that. */
  #leaveBefore(branch: Branch): void {
    if (this.#best?.breadthFirst) {
      for (const before of this.#line) {
        if (before === branch) break;
        this.#leave(before);
      }
    } else if (this.#best !== undefined) {
      for (let at: Branch | undefined = this.#at; at !== undefined && at !== branch; at = at.above)
        this.#leave(at);
    }
  }

  #leave(branch: Branch): void {
    this.#branches.delete(branch.inode);
    this.#line.delete(branch);
    if (branch.left === 0) return;
    for (const { inode } of branch.children)
      if (this.#within.get(inode) === branch) this.#within.delete(inode);
  }

  /** The directory is one of this walk, and its subdirectories are not known. */
  isUnread(inode: Inode): boolean {
    return this.#branches.get(inode)?.left === 0 || (this.#within.has(inode) && !this.#branches.has(inode));
  }

  /** Notes the subdirectories of a directory that was opened, or will be. */
  list(inode: Inode, children: readonly Subdirectory[]): void {
    if (!this.isUnread(inode)) return;
    const branch = this.#branches.get(inode) ?? new Branch(inode, this.#within.get(inode));
    if (children.length === 0 || this.#within.size + children.length > MOST_KNOWN) {
      this.#leave(branch);
      return;
    }
    this.#branches.set(inode, branch);
    branch.list(children);
    for (const child of children) this.#within.set(child.inode, branch);
  }

  /**
   * The directories that the program is expected to open next, in this order. One of which {@link list} is told while it is the
   * last that came is followed by what it holds. None while there is no pattern.
   */
  get expected(): Iterable<Inode> {
    return this.#best === undefined ? [] : this.#expectedBy(this.#best);
  }

  get #best(): Way | undefined {
    let best: Way | undefined;
    for (const way of this.#ways) if (way.right > (best?.right ?? 0)) best = way;
    return best;
  }

  #expectedBy({ order, breadthFirst }: Way): Iterable<Inode> {
    return breadthFirst ? this.#breadthFirst(order) : this.#depthFirst(order);
  }

  *#depthFirst(order: number): Generator<Inode> {
    for (let branch: Branch | undefined = this.#at; branch !== undefined; branch = branch.above)
      yield* this.#below(branch, order);
  }

  *#below(branch: Branch, order: number): Generator<Inode> {
    for (const inode of branch.following(order)) {
      if (this.#within.get(inode) !== branch) continue;
      yield inode;
      const known = this.#branches.get(inode);
      if (known !== undefined) yield* this.#below(known, order);
    }
  }

  *#breadthFirst(order: number): Generator<Inode> {
    let line: Iterable<Branch> = this.#line;
    for (;;) {
      const next: Branch[] = [];
      for (const branch of line) {
        for (const inode of branch.following(order)) {
          if (this.#within.get(inode) !== branch) continue;
          yield inode;
          const known = this.#branches.get(inode);
          if (known !== undefined) next.push(known);
        }
      }
      if (next.length === 0) return;
      line = next;
    }
  }
}
