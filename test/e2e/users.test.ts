/** Several users on one mount (allow_other): everybody may do what the server lets them, and no more. */
import { constants } from 'node:fs';
import t from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { AS_ROOT, overVariants, type WorkFolder } from '../support/variants.js';

const { O_CREAT, O_RDONLY, O_RDWR, O_WRONLY, R_OK, W_OK, X_OK } = constants;
const ANNA = 31_001;
const BERT = 31_002;
const STAFF = 32_001;
const GUESTS = 32_002;

async function as(
  mount: WorkFolder,
  uid: number,
  gid: number,
  groups: readonly number[] = [],
): Promise<Agent> {
  const fs = await mount.agent();
  await fs.become(uid, gid, groups);
  return fs;
}

overVariants(t, AS_ROOT, async (t, { mount }) => {
  const root = await mount.agent();
  const anna = await as(mount, ANNA, ANNA, [STAFF]);
  const bert = await as(mount, BERT, BERT);
  await root.mkdir('shared');
  await root.chmod('shared', 0o1777);

  await t.test('files belong to their makers', async (t) => {
    await anna.writeFile('shared/anna', 'by anna');
    const { uid, gid, mode } = await root.stat('shared/anna');
    t.same([uid, gid, mode & 0o777], [ANNA, ANNA, 0o644]);
    await bert.mkdir('shared/bert');
    t.equal((await root.stat('shared/bert')).uid, BERT);
  });

  await t.test('mode bits keep others out, whatever is cached', async (t) => {
    await anna.writeFile('shared/secret', 'for anna');
    await anna.chmod('shared/secret', 0o600);
    t.equal((await anna.readFile('shared/secret')).toString(), 'for anna');
    t.equal((await root.readFile('shared/secret')).toString(), 'for anna');
    t.equal(await errnoOf(bert.open('shared/secret', O_RDONLY)), 'EACCES', 'reading');
    t.equal(await errnoOf(bert.open('shared/secret', O_WRONLY)), 'EACCES', 'writing');
    t.same(
      [await anna.access('shared/secret', R_OK | W_OK), await bert.access('shared/secret', R_OK)],
      [true, false],
    );
    t.match(await errnoOf(bert.unlink('shared/secret')), /^(EPERM|EACCES)$/, 'the sticky bit');
    t.equal(await errnoOf(bert.chmod('shared/secret', 0o777)), 'EPERM', 'chmod');
    t.match(await errnoOf(bert.utimens('shared/secret', 'now', 'now')), /^(EPERM|EACCES)$/, 'touch');
    t.match(await errnoOf(bert.chown('shared/secret', BERT, BERT)), /^EPERM$/, 'chown');
  });

  await t.test('a folder without x hides its content, whatever is cached', async (t) => {
    await anna.mkdir('shared/private', 0o700);
    await anna.writeFile('shared/private/file', 'x');
    t.equal(await errnoOf(bert.stat('shared/private/file')), 'EACCES');
    t.equal(await errnoOf(bert.list('shared/private')), 'EACCES');
    t.equal(await errnoOf(bert.chdir('shared/private')), 'EACCES');
    t.equal(await errnoOf(bert.open('shared/private/file', O_RDONLY)), 'EACCES');
    t.notOk(await bert.access('shared/private', X_OK));
    t.equal((await anna.stat('shared/private/file')).size, 1);
  });

  await t.test('supplementary groups count', async (t) => {
    await root.writeFile('shared/for-staff', 'x');
    await root.chown('shared/for-staff', 0, STAFF);
    await root.chmod('shared/for-staff', 0o660);
    const fd = await anna.open('shared/for-staff', O_RDWR);
    t.equal(await anna.write(fd, 'changed'), 7, 'anna is of the staff');
    await anna.closeFd(fd);
    t.equal(await errnoOf(bert.open('shared/for-staff', O_RDONLY)), 'EACCES', 'bert is not');
    await anna.chown('shared/anna', -1, STAFF);
    t.equal((await root.stat('shared/anna')).gid, STAFF, 'a file is given to a group that one is in');
    t.equal(await errnoOf(anna.chown('shared/anna', -1, GUESTS)), 'EPERM', 'not to another');
  });

  await t.test('a setgid folder hands its group on', async (t) => {
    await root.mkdir('shared/project');
    await root.chown('shared/project', 0, STAFF);
    await root.chmod('shared/project', 0o2775);
    await anna.writeFile('shared/project/file', 'x');
    t.equal((await root.stat('shared/project/file')).gid, STAFF, 'to a file');
    await anna.mkdir('shared/project/folder');
    const { gid, mode } = await root.stat('shared/project/folder');
    t.same([gid, mode & 0o2000], [STAFF, 0o2000], 'to a folder, with the bit');
  });

  await t.test('a descriptor keeps the rights it was opened with', async (t) => {
    const fd = await anna.open('shared/mine', O_CREAT | O_RDWR, 0o644);
    await anna.fchmod(fd, 0o400);
    t.equal(await anna.write(fd, 'still'), 5);
    await anna.fsync(fd);
    t.equal((await anna.pread(fd, 10, 0)).toString(), 'still');
    await anna.closeFd(fd);
    t.equal(await errnoOf(anna.open('shared/mine', O_WRONLY)), 'EACCES', 'a new one does not');
  });

  await t.test('a write by another user than the owner clears the setuid bit', async (t) => {
    await root.writeFile('shared/setuid', 'x');
    await root.chmod('shared/setuid', 0o6777);
    const fd = await bert.open('shared/setuid', O_WRONLY);
    await bert.write(fd, 'changed');
    await bert.closeFd(fd);
    t.equal((await root.stat('shared/setuid')).mode & 0o4000, 0);
  });

  await t.test('sixteen and more groups do not keep a user out', async (t) => {
    const many = Array.from({ length: 40 }, (_, index) => 40_000 + index);
    const carl = await as(mount, 31_003, 31_003, [STAFF, ...many]);
    await carl.writeFile('shared/carl', 'x');
    t.equal((await carl.readFile('shared/carl')).toString(), 'x');
  });
});
