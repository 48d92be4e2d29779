import t from 'tap';
import { fileNameFromBytes } from '../../../lib/programs/nfs3/index.js';
import { Inode } from '../../../lib/vfs/cache/inode.js';
import { WalkPattern } from '../../../lib/vfs/directories/walk-pattern.js';
import { makeHandle } from '../support/fake-tree.js';

/** The directories of a tree, as paths: each holds those that follow it with one name more, in this order. */
class Tree {
  readonly #inodes = new Map<string, Inode>();
  readonly pattern: WalkPattern;

  constructor(
    readonly paths: readonly string[],
    readonly root = '',
  ) {
    for (const [at, path] of [root, ...paths].entries())
      this.#inodes.set(path, new Inode(at + 1, makeHandle(path)));
    this.pattern = new WalkPattern(this.inode(root));
    this.list(root);
  }

  inode(path: string): Inode {
    const inode = this.#inodes.get(path);
    if (inode === undefined) throw new Error(`no ${path}`);
    return inode;
  }

  children(path: string): string[] {
    return this.paths.filter((each) => each.slice(0, each.lastIndexOf('/')) === path);
  }

  list(path: string): void {
    const children = this.children(path).map((child) => ({
      inode: this.inode(child),
      name: fileNameFromBytes(Buffer.from(child.slice(child.lastIndexOf('/') + 1))),
    }));
    this.pattern.list(this.inode(path), children);
  }

  visit(path: string): void {
    this.pattern.open(this.inode(path));
    this.list(path);
  }

  /** At most so many of the directories that are expected next. */
  expected(most = 5): string[] {
    const names: string[] = [];
    for (const inode of this.pattern.expected) {
      if (names.length === most) break;
      names.push([...this.#inodes].find(([, each]) => each === inode)?.[0] ?? '?');
    }
    return names;
  }
}

const TWO_LEVELS = ['/b', '/b/y', '/b/x', '/a', '/a/y', '/a/x', '/C', '/C/y', '/C/x', '/d'];

/** The directories in the order in which a program opens them that takes names in some order. */
function depthFirst(tree: Tree, path: string, compare?: (a: string, b: string) => number): string[] {
  const children = tree.children(path);
  if (compare !== undefined) children.sort(compare);
  return children.flatMap((child) => [child, ...depthFirst(tree, child, compare)]);
}

function breadthFirst(tree: Tree, compare?: (a: string, b: string) => number): string[] {
  const all = [''];
  for (const path of all) {
    const children = tree.children(path);
    if (compare !== undefined) children.sort(compare);
    all.push(...children);
  }
  return all.slice(1);
}

const bytes = (a: string, b: string): number => (a < b ? -1 : 1);
const letters = (a: string, b: string): number => bytes(a.toLowerCase(), b.toLowerCase());

for (const [what, compare] of [
  ['in the order of the listing', undefined],
  ['in the order of the bytes of the names', bytes],
  ['in the order of the letters of the names', letters],
] as const) {
  t.test(`a walk depth-first ${what} is followed`, async (t) => {
    const tree = new Tree(TWO_LEVELS);
    const walk = depthFirst(tree, '', compare);
    t.same(tree.expected(), [], 'nothing is expected before the first step');
    for (const [at, path] of walk.entries()) {
      if (at > 1) t.equal(tree.expected(1)[0], path, path);
      tree.visit(path);
    }
    t.equal(tree.pattern.credit, walk.length);
    t.same(tree.expected(), []);
  });

  t.test(`a walk breadth-first ${what} is followed`, async (t) => {
    const tree = new Tree(TWO_LEVELS);
    const walk = breadthFirst(tree, compare);
    for (const [at, path] of walk.entries()) {
      // Before the second step, nobody can tell whether the walk goes on below the first.
      if (at > 1) t.equal(tree.expected(1)[0], path, path);
      tree.visit(path);
    }
    t.equal(tree.pattern.credit, walk.length);
    t.same(tree.expected(), []);
  });
}

t.test('what is listed ahead is expected where the walk will come to it', async (t) => {
  const deep = new Tree(['/a', '/a/x', '/b', '/b/x', '/c', '/c/x']);
  deep.visit('/a');
  deep.visit('/a/x');
  t.same(deep.expected(), ['/b', '/c']);
  deep.list('/b');
  t.same(deep.expected(), ['/b', '/b/x', '/c']);
  const known: string[] = [];
  for (const inode of deep.pattern.expected) {
    if (inode === deep.inode('/c')) deep.list('/c');
    known.push(String(inode.handle));
  }
  t.same(known, ['/b', '/b/x', '/c', '/c/x'], 'also while the expected ones are looked at');

  const broad = new Tree(['/a', '/a/x', '/b', '/b/x', '/c', '/c/x']);
  broad.visit('/a');
  broad.visit('/b');
  broad.list('/c');
  t.same(broad.expected(), ['/c', '/a/x', '/b/x', '/c/x']);
});

t.test('a walk that leaves a few out goes on behind them', async (t) => {
  const names = Array.from({ length: 40 }, (_, i) => `/d${10 + i}`);
  const tree = new Tree(names);
  for (const name of names.slice(0, 5)) tree.visit(name);
  const { credit } = tree.pattern;
  tree.visit('/d18');
  t.equal(tree.pattern.credit, credit, 'which earns nothing');
  t.same(tree.expected(2), ['/d19', '/d20'], 'and it does not come back');
  tree.visit('/d19');
  t.equal(tree.pattern.credit, credit + 1);
});

t.test('a walk that goes another way has no pattern until it has one again', async (t) => {
  const names = Array.from({ length: 40 }, (_, i) => `/d${10 + i}`);
  const tree = new Tree(names);
  for (const name of names.slice(0, 5)) tree.visit(name);
  t.equal(tree.pattern.credit, 5);
  tree.visit('/d30');
  t.equal(tree.pattern.credit, 0);
  t.same(tree.expected(), []);
  tree.visit('/d31');
  t.equal(tree.pattern.credit, 1);
  t.same(tree.expected(2), ['/d32', '/d33']);
});

t.test('who only opens the directories of one does not go below them', async (t) => {
  const names = Array.from({ length: 9 }, (_, i) => `/d${i}`);
  const tree = new Tree(names.flatMap((name) => [name, ...names.map((below) => `${name}${below}`)]));
  for (const name of names.slice(0, 4)) tree.visit(name);
  t.same(tree.expected(3), ['/d4', '/d5', '/d6']);
});

t.test('what is listed in vain costs twice what one that was expected has earned', async (t) => {
  const names = Array.from({ length: 9 }, (_, i) => `/d${i}`);
  const tree = new Tree(names);
  for (const name of names.slice(0, 5)) tree.visit(name);
  tree.pattern.wasInVain();
  t.equal(tree.pattern.credit, 3);
  tree.pattern.wasInVain();
  tree.pattern.wasInVain();
  t.equal(tree.pattern.credit, 0);
});

t.test(
  'a directory that holds itself, and one that is in two others, are expected once at a time',
  async (t) => {
    const tree = new Tree(['/a', '/a/x', '/b']);
    const name = fileNameFromBytes(Buffer.from('again'));
    tree.visit('/a');
    tree.pattern.list(tree.inode('/a/x'), [{ inode: tree.inode('/a/x'), name }]);
    tree.pattern.open(tree.inode('/a/x'));
    tree.pattern.list(tree.inode('/a/x'), [{ inode: tree.inode('/b'), name }]);
    t.same(tree.expected(4), [], 'nobody expects that');
    tree.pattern.open(tree.inode('/b'));
    t.same(tree.expected(4), []);
    t.notOk(tree.pattern.knows(tree.inode('/b')));
  },
);

t.test('more directories than are worth it are not kept in mind', async (t) => {
  const tree = new Tree(['/a', '/b']);
  tree.pattern.open(tree.inode('/a'));
  const many = Array.from({ length: 40_000 }, (_, i) => ({
    inode: new Inode(100 + i, makeHandle(`h${i}`)),
    name: fileNameFromBytes(Buffer.from(`n${i}`)),
  }));
  tree.pattern.list(tree.inode('/a'), many);
  t.notOk(many.some(({ inode }) => tree.pattern.knows(inode)));
  t.same(tree.expected(2), ['/b']);
});
