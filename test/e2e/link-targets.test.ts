/** Targets of symbolic links at the limit of the system (PATH_MAX, 4096 bytes with the NUL) and beyond it. */
import t from 'tap';
import { errnoOf } from '../support/agent.js';
import { embeddedMount } from '../support/embedded-mount.js';

const STACK_TRACE = /^\s+at /m;

t.test('a target that the server sends is read up to 4095 bytes, and ENAMETOOLONG beyond', async (t) => {
  const { agent, server, mount } = await embeddedMount(t);
  for (const length of [1024, 4095, 4096, 4097, 8192, 100_000]) {
    await agent.symlink('target', `link${length}`);
    const target = Buffer.alloc(length, 'x');
    const fault = server.faults.add({ procedure: 'READLINK', alter: (result) => ({ ...result, target }) });
    const expected = length > 4095 ? 'ENAMETOOLONG' : 'no error';
    t.equal(await errnoOf(agent.readlink(`link${length}`)), expected, `readlink of ${length} bytes`);
    t.equal(
      (await agent.lstat(`link${length}`)).mode & 0o170000,
      0o120000,
      'the link itself can be looked at',
    );
    fault.remove();
  }
  t.notMatch(mount.log, STACK_TRACE);
  t.notMatch(mount.log, /failed/);
});

t.test('a target of 4095 bytes can be made and read, and symlink(2) refuses 4096', async (t) => {
  const { agent, mount } = await embeddedMount(t);
  const longest = Buffer.alloc(4095, 'y');
  await agent.symlink(longest, 'longest');
  t.ok((await agent.readlink('longest')).equals(longest));
  t.equal(await errnoOf(agent.symlink(Buffer.alloc(4096, 'y'), 'longer')), 'ENAMETOOLONG');
  t.notMatch(mount.log, STACK_TRACE);
});
