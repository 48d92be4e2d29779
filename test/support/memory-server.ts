/**
 * A program that mounts and serves a memory file system, so that a test can run it as any user and kill it.
 *
 * usage: memory-server.js MOUNTPOINT SOURCE [allow-other]
 *
 * Says "mounted METHOD" when the kernel is served, and on stderr, as one line of JSON, how mounting failed.
 * SIGTERM unmounts. At the end it says "closed END".
 */
import { FuseSession, MountError, mountKernel } from '../../lib/fuse/index.js';
import { MemoryFileSystem } from './memory-fs.js';

const [mountpoint = '', source = '', ...flags] = process.argv.slice(2);

try {
  const mount = await mountKernel({ mountpoint, source, allowOther: flags.includes('allow-other') });
  const fs = new MemoryFileSystem();
  const directory = fs.make(0o040755, 0, 0, fs.root);
  fs.root.children.set('many', directory);
  for (let i = 0; i < 10_000; i++) {
    const node = fs.make(0o100644, 0, 0, directory);
    node.size = i;
    directory.children.set(`entry-${i}`, node);
  }
  fs.root.mode = 0o041777;
  const session = new FuseSession(mount.fd, fs);
  process.on('SIGTERM', () => {
    void mount.unmount();
  });
  await session.ready;
  console.log(`mounted ${mount.method}`);
  const end = await session.closed;
  console.log(`closed ${String(end)} destroyed ${fs.destroyed}`);
} catch (error) {
  if (!(error instanceof MountError)) throw error;
  console.error(JSON.stringify({ code: error.code, message: error.message }));
  process.exitCode = 1;
}
