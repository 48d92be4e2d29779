/** A file three directories deep on a fake server. */
import { outcome, Rig } from './rig.js';

export async function deep(name = 'f') {
  const rig = new Rig();
  const { tree } = rig.server;
  tree.directory('a');
  tree.directory('a/b');
  tree.directory('c');
  tree.file(`a/b/${name}`, 'content');
  const inode = await rig.walk(`a/b/${name}`);
  const [a, b, c] = [await rig.walk('a'), await rig.walk('a/b'), await rig.walk('c')];
  rig.server.forgetCalls();
  const { redriver, current } = rig.vfs;
  /** The answer to stat(2) of the file by a thread. */
  const stat = (tid = 7) => outcome(current.fetch(inode, rig.caller(1000, tid)));
  const rename = (from = b, to = c) =>
    rig.remove.rename(rig.at(name, from), rig.at('g', to), 0, rig.caller());
  return { rig, server: rig.server, tree, inode, a, b, c, redriver, stat, rename };
}
