/** Modes, owners, times and sizes: what POSIX promises, on every server and way to mount. */
import { constants, lstatSync, statSync } from 'node:fs';
import t from 'tap';
import { errnoOf } from '../support/agent.js';
import { showBehaviours } from '../support/behaviours.js';
import { EVERYWHERE } from '../support/variants.js';

const { O_CREAT, O_RDONLY, O_RDWR, R_OK, W_OK, X_OK } = constants;
const SECOND = 1_000_000_000n;

showBehaviours(t, EVERYWHERE, {
  'chmod sets all twelve bits, and only them': async (t, { fs, server, folder }) => {
    await fs.writeFile('file', 'content');
    for (const mode of [0o000, 0o400, 0o751, 0o4755, 0o2755, 0o1644, 0o7777, 0o644]) {
      await fs.chmod('file', mode);
      t.equal((await fs.stat('file')).mode, 0o100000 | mode, mode.toString(8));
      t.equal(statSync(`${server.directory}/${folder}/file`).mode, 0o100000 | mode, "on the server's disk");
    }
    const fd = await fs.open('file', O_RDONLY);
    await fs.fchmod(fd, 0o600);
    t.equal((await fs.fstat(fd)).mode, 0o100600, 'fchmod');
    await fs.mkdir('folder');
    await fs.chmod('folder', 0o1777);
    t.equal((await fs.stat('folder')).mode, 0o041777, 'a folder');
    t.equal((await fs.readFile('file')).toString(), 'content', 'content is untouched');
  },

  'chown by root sets owner and group, each alone too': async (t, { fs, place, server, folder }) => {
    await fs.writeFile('file', 'x');
    await fs.symlink('file', 'link');
    if (!place.privileged) {
      const { uid, gid } = await fs.stat('file');
      await fs.chown('file', uid, gid);
      t.match(await errnoOf(fs.chown('file', 12_345, 12_345)), /^(EPERM|EINVAL)$/, 'nobody else can');
      return;
    }
    await fs.chown('file', 12_345, 23_456);
    const { uid, gid } = await fs.stat('file');
    t.same([uid, gid], [12_345, 23_456]);
    await fs.chown('file', -1, 34_567);
    t.same([(await fs.stat('file')).uid, (await fs.stat('file')).gid], [12_345, 34_567], 'group only');
    await fs.chown('file', 4_294_967_294, -1);
    t.same([(await fs.stat('file')).uid, (await fs.stat('file')).gid], [4_294_967_294, 34_567], 'owner only');
    await fs.lchown('link', 11, 22);
    t.same([(await fs.lstat('link')).uid, (await fs.lstat('link')).gid], [11, 22], 'lchown: the link');
    t.equal((await fs.stat('link')).uid, 4_294_967_294, 'not its target');
    t.equal(statSync(`${server.directory}/${folder}/file`).gid, 34_567, "on the server's disk");
  },

  'utimensat sets times to the nanosecond': async (t, { fs, serverName, server, folder }) => {
    await fs.writeFile('file', 'x');
    await fs.symlink('file', 'link');
    const times: readonly (readonly [bigint, bigint])[] = [
      [1_000_000_001n * SECOND + 123_456_789n, 1_234_567_890n * SECOND + 987_654_321n],
      [0n, 1n],
      [SECOND * 4_000_000_000n + 1n, SECOND * 2_147_483_648n + 999_999_999n],
    ];
    for (const [atime, mtime] of times) {
      await fs.utimens('file', atime, mtime);
      const { atimeNs, mtimeNs } = await fs.stat('file');
      t.same([atimeNs, mtimeNs], [atime, mtime], `${atime} ${mtime}`);
    }
    await fs.utimens('link', 5n * SECOND, 6n * SECOND + 7n, false);
    // nfs-ganesha 4.3 answers NFS3_OK to SETATTR of a symlink's times and leaves them as they were.
    const link = lstatSync(`${server.directory}/${folder}/link`, { bigint: true });
    if (serverName !== 'ganesha') t.equal(link.mtimeNs, 6n * SECOND + 7n, 'a symlink itself');
    t.equal((await fs.lstat('link')).mtimeNs, link.mtimeNs, 'as the server has it');
    t.equal((await fs.stat('file')).mtimeNs, times[2]?.[1], 'not its target');
    await fs.mkdir('folder');
    await fs.utimens('folder', 5n * SECOND, 8n * SECOND + 9n);
    t.equal((await fs.stat('folder')).mtimeNs, 8n * SECOND + 9n, 'a folder');
  },

  'UTIME_OMIT leaves a time alone, UTIME_NOW takes the clock': async (t, { fs }) => {
    await fs.writeFile('file', 'x');
    await fs.utimens('file', 1n * SECOND, 2n * SECOND);
    await fs.utimens('file', 'omit', 3n * SECOND);
    let { atimeNs, mtimeNs } = await fs.stat('file');
    t.same([atimeNs, mtimeNs], [1n * SECOND, 3n * SECOND]);
    await fs.utimens('file', 4n * SECOND, 'omit');
    ({ atimeNs, mtimeNs } = await fs.stat('file'));
    t.same([atimeNs, mtimeNs], [4n * SECOND, 3n * SECOND]);
    await fs.utimens('file', 'now', 'omit');
    ({ atimeNs, mtimeNs } = await fs.stat('file'));
    t.ok(atimeNs > 1_600_000_000n * SECOND, 'atime is now');
    t.equal(mtimeNs, 3n * SECOND, 'mtime as it was');
    await fs.utimens('file', 'now', 'now');
    ({ atimeNs, mtimeNs } = await fs.stat('file'));
    t.ok(mtimeNs > 1_600_000_000n * SECOND, 'both now');
  },

  'times that were set outlive the close of a written file': async (t, { fs, server, folder }) => {
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.write(fd, 'x'.repeat(100_000));
    await fs.utimens('file', 11n * SECOND, 22n * SECOND + 33n);
    await fs.closeFd(fd);
    t.equal((await fs.stat('file')).mtimeNs, 22n * SECOND + 33n);
    t.equal(statSync(`${server.directory}/${folder}/file`, { bigint: true }).mtimeNs, 22n * SECOND + 33n);
  },

  'mtime and ctime move when content does, ctime alone for modes': async (t, { fs }) => {
    await fs.writeFile('file', 'x');
    await fs.utimens('file', 1n * SECOND, 2n * SECOND);
    const before = await fs.stat('file');
    await fs.chmod('file', 0o600);
    const changed = await fs.stat('file');
    t.equal(changed.mtimeNs, before.mtimeNs, 'chmod leaves mtime');
    t.ok(changed.ctimeNs >= before.ctimeNs, 'and moves ctime');
    await fs.writeFile('file', 'y');
    t.ok((await fs.stat('file')).mtimeNs > changed.mtimeNs, 'a write moves mtime');
    await fs.utimens('.', 1n * SECOND, 2n * SECOND);
    await fs.writeFile('another', 'z');
    t.ok((await fs.stat('.')).mtimeNs > 2n * SECOND, 'a new name moves the mtime of its folder');
  },

  'size and blocks are right at once after write and truncate': async (t, { fs }) => {
    const fd = await fs.open('file', O_CREAT | O_RDWR);
    await fs.write(fd, Buffer.alloc(1_000_000, 1));
    t.equal((await fs.fstat(fd)).size, 1_000_000, 'fstat while it is open');
    t.equal((await fs.stat('file')).size, 1_000_000, 'stat while it is open');
    await fs.fsync(fd);
    const { blocks } = await fs.stat('file');
    t.ok(blocks * 512 >= 1_000_000 && blocks * 512 < 1_200_000, `${blocks} blocks`);
    await fs.ftruncate(fd, 10);
    t.equal((await fs.stat('file')).size, 10);
  },

  'access(2) and opening follow the mode of what one owns': async (t, { fs, place }) => {
    await fs.writeFile('file', 'x');
    await fs.chmod('file', 0o400);
    t.ok(await fs.access('file', R_OK));
    t.notOk(await fs.access('file', X_OK), 'no x bit: not even root may execute');
    t.ok(await fs.access('.', R_OK | W_OK | X_OK));
    if (place.name !== 'user') return;
    t.notOk(await fs.access('file', W_OK));
    t.equal(await errnoOf(fs.open('file', O_RDWR)), 'EACCES');
    await fs.mkdir('closed');
    await fs.writeFile('closed/file', 'x');
    await fs.chmod('closed', 0o000);
    t.equal(await errnoOf(fs.stat('closed/other')), 'EACCES', 'a folder without x');
    t.equal(await errnoOf(fs.list('closed')), 'EACCES', 'a folder without r');
    await fs.chmod('closed', 0o700);
  },

  'statvfs and df are those of the server': async (t, { fs, mount, server }) => {
    const there = await mount.mustRun(['stat', '-f', '-c', '%b %S %l', '.']);
    const [blocks = 0, size = 0, name] = there.trim().split(' ').map(Number);
    const disk = (await mount.mustRun(['df', '-B1', '--output=size', server.directory]))
      .trim()
      .split('\n')
      .at(-1);
    t.ok(Math.abs(blocks * size - Number(disk)) < 2 ** 20, `${blocks} blocks of ${size} are ${disk} bytes`);
    t.equal(name, 255);
    const { bfree = -1, bavail = -1, files = -1, ffree = -1 } = await fs.statvfs('.');
    t.ok(bavail > 0 && bfree >= bavail && files >= ffree && ffree > 0, 'free blocks and files');
  },

  'new objects belong to who makes them': async (t, { fs, place }) => {
    await fs.writeFile('file', 'x');
    await fs.mkdir('folder');
    await fs.symlink('x', 'link');
    const expected = place.name === 'user' ? [place.owner.uid, place.owner.gid] : [0, 0];
    for (const name of ['file', 'folder', 'link']) {
      const { uid, gid } = await fs.lstat(name);
      t.same([uid, gid], expected, name);
    }
  },
});
