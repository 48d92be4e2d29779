/** --state FILE: whoever has the descriptor of a mount and the file goes on with the mount. */
import { chmodSync, chownSync, linkSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { openPlace } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { keepersOf } from '../support/watchers.js';
import { armed, killed } from './support/armed.js';

const PATIENCE_MS = 60_000;

/** How often the helper's output has these words. */
const count = (helper: Background, what: RegExp) => helper.output.match(new RegExp(what, 'g'))?.length ?? 0;

t.test('the next process with the descriptor and the file goes on, and open files stay open', async (t) => {
  const { helper, served, mnt, state, serve, says } = await armed(t);
  const first = await serve(`--state ${state}`);
  await says(/is mounted on \/dev\/fd\/8/);
  const content =
    'exec 4> "$0/file" && printf one >&4 && sync "$0/file" && echo open && read -r line && printf two >&4 && echo done';
  const writer = untilEnd(t, start(['sh', '-c', content, mnt], { stdio: ['pipe', 'pipe', 'pipe'] }));
  await until('it is open', () => writer.output.includes('open'));
  killed(first);
  await until('nobody keeps it', () => keepersOf('/dev/fd/8').length === 0, PATIENCE_MS);
  await serve(`--state ${state}`);
  await says(
    new RegExp(`The process ${first} that served /dev/fd/8 died; process \\d+ has taken the mount over`),
  );
  writer.child.stdin?.end('go on\n');
  t.match(await writer.ended, { status: 0 });
  t.equal(readFileSync(join(served, 'file'), 'utf8'), 'onetwo');
  await mustRun(['umount', mnt]);
  await until('nobody is left', () => keepersOf('/dev/fd/8').length === 0, PATIENCE_MS);
  t.equal(count(helper, /cannot be gone on with/), 0);
});

t.test(
  'a state that is in use, damaged, cut off, or of another mount is refused, and the mount goes on later',
  async (t) => {
    const { helper, mnt, state, scratch, serve, says } = await armed(t);
    const first = await serve(`--state ${state}`);
    await says(/is mounted on \/dev\/fd\/8/);
    await serve(`--state ${state}`);
    await says(/The state file .* is in use/);
    killed(first);
    await until('nobody keeps it', () => keepersOf('/dev/fd/8').length === 0, PATIENCE_MS);
    const bytes = readFileSync(state);
    const bad = (name: string, change: (content: Buffer) => void): string => {
      const path = join(scratch.path, name);
      const content = Buffer.from(bytes);
      change(content);
      writeFileSync(path, content, { mode: 0o600 });
      return path;
    };
    const foreign = bad('foreign', () => {});
    chownSync(foreign, 1000, 1000);
    const open = bad('open', () => {});
    chmodSync(open, 0o640);
    const twice = bad('twice', () => {});
    linkSync(twice, join(scratch.path, 'second'));
    const other = (content: Buffer): void => {
      const at = content.indexOf('"madeBy":"inherited"');
      content.write('"madeBy":"direct"   ', at);
    };
    const cutOff = bad('cut', () => {});
    truncateSync(cutOff, 10_000);
    const states = [
      bad('magic', (content) => content.fill(0, 0, 4)),
      cutOff,
      bad('version', (content) => content.fill(9, 4, 8)),
      bad('facts', other),
      foreign,
      open,
      twice,
    ];
    for (const path of states) {
      await serve(`--state ${path}`);
      await says(new RegExp(`The state in ${path} cannot be gone on with: `));
    }
    await serve(`--state ${state}`);
    await says(/has taken the mount over/);
    t.equal(await mustRun(['ls', mnt]), '');
    t.equal(count(helper, /cannot be gone on with/), states.length);
    await mustRun(['umount', mnt]);
  },
);

t.test('the state of another mount is refused', async (t) => {
  const one = await armed(t);
  const first = await one.serve(`--state ${one.state}`);
  await one.says(/is mounted on \/dev\/fd\/8/);
  killed(first);
  await until('nobody keeps it', () => keepersOf('/dev/fd/8').length === 0, PATIENCE_MS);
  // While this connection is there, no other one gets its number.
  const other = await armed(t);
  await other.serve(`--state ${one.state}`);
  await other.says(
    /cannot be gone on with: it is that of another mount: 127\.0\.0\.1:\/export on \/dev\/fd\/8, connection \d+\./,
  );
  await other.serve('');
  await other.says(/is mounted on \/dev\/fd\/8/);
  t.equal(await mustRun(['ls', other.mnt]), '', 'it can be served in the usual way');
  await mustRun(['umount', other.mnt]);
});

t.test(
  'the state of an earlier mount with the same number is refused as soon as the kernel begins',
  async (t) => {
    const one = await armed(t);
    const first = await one.serve(`--state ${one.state}`);
    await one.says(/is mounted on \/dev\/fd\/8/);
    killed(first);
    await until('nobody keeps it', () => keepersOf('/dev/fd/8').length === 0, PATIENCE_MS);
    await mustRun(['umount', '-l', one.mnt]);
    one.helper.signal('SIGKILL');
    await one.helper.ended;
    const other = await armed(t);
    await other.serve(`--state ${one.state}`);
    await other.says(
      /cannot be gone on with: it is that of another mount|This is a new mount, and the state is that of an earlier one\./,
    );
  },
);

t.test('--state without an inherited descriptor is refused', async (t) => {
  const place = untilEnd(t, await openPlace('root'));
  const argv = place.command([
    ...place.product,
    'mount',
    '--state',
    '/dev/shm/x',
    '127.0.0.1:/export',
    place.folder,
  ]);
  t.match(await run(argv, { cwd: '/' }), {
    status: 1,
    stderr: /--state is for a mount that another program has made/,
  });
});
