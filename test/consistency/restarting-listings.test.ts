/**
 * A server whose cookies are worth nothing once the directory has changed, and that begins the listing anew instead of
 * saying so, as unfs3 does. Programs still get each name once.
 */
import t, { type Test } from 'tap';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';

const FILES = 1000;
const PREFIX = `name${'-long'.repeat(30)}`;

/** Counts how often it began anew. */
async function beginsAnew({ server, handleOf, agent }: EmbeddedMount, name: string) {
  const counted = { times: 0 };
  const handle = await handleOf(name);
  let seen = 0n;
  let now = 0n;
  for (const procedure of ['READDIR', 'READDIRPLUS'] as const) {
    server.faults.add({
      procedure,
      handle,
      times: Number.POSITIVE_INFINITY,
      // The arguments are changed to the beginning before the server looks at them.
      when: (args) => {
        const asked = args as { cookie: bigint };
        if (asked.cookie !== 0n && seen !== now) {
          asked.cookie = 0n;
          counted.times++;
        }
        seen = now;
        return false;
      },
    });
  }
  for (const procedure of ['REMOVE', 'CREATE', 'RENAME'] as const) {
    server.faults.add({
      procedure,
      when: () => {
        now++;
        return false;
      },
    });
  }
  await agent.lstat(name);
  return counted;
}

async function ground(t: Test) {
  // Small replies, and programs with small buffers (their size is st_blksize): many parts.
  const made = await embeddedMount(t, ['wsize=4096'], {
    limits: { dtpref: 8192, rtmax: 8192, rtpref: 8192 },
  });
  await made.agent.mkdir('many');
  await made.agent.makeFiles('many', PREFIX, 0, FILES);
  return { ...made, counted: await beginsAnew(made, 'many') };
}

t.test(
  'a program that unlinks names as it reads them reads each name once',
  { timeout: 120_000 },
  async (t) => {
    const { agent, counted } = await ground(t);
    t.same(await agent.unlinkWhileReading('many'), { unlinked: FILES, absent: 0 });
    t.ok(counted.times > 0, `the server began anew ${counted.times} times`);
    await agent.rmdir('many');
  },
);

t.test(
  'names are listed once while some are unlinked and others are made',
  { timeout: 120_000 },
  async (t) => {
    const { agent, counted } = await ground(t);
    const stream = await agent.dirOpen('many');
    const names: string[] = [];
    const gone = new Set<string>();
    for (let step = 0; ; step++) {
      const part = (await agent.dirRest(stream, 150)).map(String);
      if (part.length === 0) break;
      names.push(...part);
      const [victim = ''] = part.slice(7);
      if (!victim.startsWith('name') || step > 10) continue;
      await agent.unlink(`many/${victim}`);
      gone.add(victim);
      await agent.writeFile(`many/other${step}`, 'x');
    }
    t.equal(new Set(names).size, names.length, 'no name twice');
    t.equal(names.filter((name) => name.startsWith('name')).length, FILES, 'and none left out');
    t.ok(counted.times > 0, `the server began anew ${counted.times} times`);
    await agent.dirRewind(stream);
    const again = (await agent.dirRest(stream)).map(String).filter((name) => name.startsWith('name'));
    t.equal(again.length, FILES - gone.size, 'rewinddir shows what is there now');
    t.equal(new Set(again).size, again.length);
    await agent.dirClose(stream);
  },
);

t.test('positions from telldir stay good', { timeout: 120_000 }, async (t) => {
  const { agent, counted } = await ground(t);
  const stream = await agent.dirOpen('many');
  const marks: { position: number | bigint; next: string }[] = [];
  for (let step = 0; step < 5; step++) {
    const entry = await agent.dirNext(stream);
    const [next] = await agent.dirRest(stream, 1);
    if (entry === undefined || next === undefined) throw new Error('the directory ended early');
    marks.push({ position: entry.position, next: String(next) });
    await agent.dirRest(stream, 150);
    await agent.writeFile(`many/other${step}`, 'x');
  }
  for (const { position, next } of marks.reverse()) {
    await agent.dirSeek(stream, position);
    t.same((await agent.dirRest(stream, 1)).map(String), [next]);
  }
  const [first] = marks.slice(-1);
  await agent.dirSeek(stream, first?.position ?? 0);
  const rest = (await agent.dirRest(stream)).map(String);
  t.equal(new Set(rest).size, rest.length, 'no name twice');
  t.ok(counted.times > 0, `the server began anew ${counted.times} times`);
  await agent.dirClose(stream);
});

t.test('rm -rf leaves nothing', { timeout: 120_000 }, async (t) => {
  const { agent, mount, counted } = await ground(t);
  await mount.mustRun(['rm', '-rf', 'many']);
  t.same(await agent.list('.'), []);
  t.ok(counted.times >= 0);
});
