/** Writes that go past the kernel's pages: other descriptors in the same mount show them as soon as they have ended. */
import { constants } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { embeddedMount } from '../support/embedded-mount.js';
import { projectRoot, python } from '../support/project.js';

const { O_APPEND, O_CREAT, O_RDONLY, O_WRONLY } = constants;
const ROUNDS = 150;

t.test('asynchronous O_DIRECT writes beside buffered reads and a memory map', async (t) => {
  const { mount } = await embeddedMount(t);
  const program = join(projectRoot, 'test/e2e/direct-writes.py');
  const output = await mount.mustRun([python, program, 'file', String(ROUNDS)]);
  t.same(JSON.parse(output), { read: 0, mapped: 0 }, 'how often something old was seen');
});

t.test('appends, into a page that a reader has', async (t) => {
  const { agent } = await embeddedMount(t);
  const appending = await agent.open('log', O_CREAT | O_WRONLY | O_APPEND);
  const reading = await agent.open('log', O_RDONLY);
  let expected = '';
  for (let line = 0; line < 30; line++) {
    await agent.write(appending, `line ${line}\n`);
    expected += `line ${line}\n`;
    t.equal((await agent.pread(reading, 4096, 0)).toString(), expected);
  }
});
