/**
 * Applications see the mode, owner and links of a reply at once, not when the kernel's attributes have timed out.
 */
import { chmodSync, chownSync, constants, linkSync, mkdirSync, writeFileSync } from 'node:fs';
import t from 'tap';
import type { Agent } from '../support/agent.js';
import { embeddedMount } from '../support/embedded-mount.js';

const { O_RDONLY, O_WRONLY } = constants;
/** Looks twice: the second time the directory is known not to have changed, and the kernel may keep the answer. */
async function known(agent: Agent, path: string): Promise<void> {
  await agent.lstat(path);
  await agent.lstat(path);
}

const SECONDS = ['acregmin=60', 'acdirmin=60'];

t.test('set-user-ID and set-group-ID bits that the server clears at a WRITE', async (t) => {
  // The server clears them for a writer without privilege.
  const { agent, onServer } = await embeddedMount(t, [...SECONDS, 'uid=1234', 'gid=1234']);
  for (const [mode, cleared] of [
    [0o4777, 0o777],
    [0o6777, 0o777],
  ] as const) {
    const name = `program${mode}`;
    writeFileSync(onServer(name), 'old');
    chmodSync(onServer(name), mode);
    t.equal((await agent.lstat(name)).mode & 0o7777, mode);
    const fd = await agent.open(name, O_WRONLY);
    await agent.write(fd, 'new');
    // Before the WRITE is sent: the kernel keeps the attributes that it is told here.
    await agent.fstat(fd);
    await agent.fsync(fd);
    t.equal((await agent.lstat(name)).mode & 0o7777, cleared, 'after fsync');
    t.equal((await agent.fstat(fd)).mode & 0o7777, cleared);
    await agent.closeFd(fd);
  }
});

t.test("open(2) shows another client's changes of the file", async (t) => {
  const { agent, onServer } = await embeddedMount(t, SECONDS);
  writeFileSync(onServer('file'), 'content');
  await known(agent, 'file');
  chownSync(onServer('file'), 77, 88);
  chmodSync(onServer('file'), 0o4711);
  linkSync(onServer('file'), onServer('link'));
  const fd = await agent.open('file', O_RDONLY);
  const expected = { mode: 0o104711, uid: 77, gid: 88, nlink: 2 };
  t.match(await agent.fstat(fd), expected);
  t.match(await agent.lstat('file'), expected);
  await agent.closeFd(fd);
});

t.test("the lookup of a name shows another client's changes of its directory", async (t) => {
  const { agent, onServer } = await embeddedMount(t, SECONDS);
  mkdirSync(onServer('folder'));
  writeFileSync(onServer('folder/file'), 'content');
  await known(agent, 'folder');
  chmodSync(onServer('folder'), 0o1777);
  chownSync(onServer('folder'), 77, 88);
  await agent.lstat('folder/file');
  t.match(await agent.lstat('folder'), { mode: 0o041777, uid: 77, gid: 88 });
});

t.test("a refusal or a permission by the server shows another client's changes of the file", async (t) => {
  const { agent, onServer } = await embeddedMount(t, SECONDS);
  writeFileSync(onServer('file'), 'content');
  await known(agent, 'file');
  chmodSync(onServer('file'), 0o4711);
  await agent.access('file', 4);
  t.match(await agent.lstat('file'), { mode: 0o104711 });
});
