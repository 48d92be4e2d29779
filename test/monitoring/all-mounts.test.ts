/** `nfs-fuse stats` without a mount point, and its metrics: every mount is shown, and one that is silent keeps no other. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { metricNames } from '../../lib/mount/metrics/mount-metrics.js';
import { failsOnce, nfsFuse } from '../cli/support/product.js';
import { type EmbeddedMount, embeddedMount } from '../support/embedded-mount.js';
import { Mount } from '../support/mount.js';
import { untilEnd } from '../support/until-end.js';

interface Pair extends EmbeddedMount {
  /** At a place that has to be escaped, and read-only. */
  readonly other: Mount;
}

async function pair(t: Test): Promise<Pair> {
  const where = await embeddedMount(t);
  const { source, place } = where;
  const at = join(place.folder, 'a "quoted" \\ place');
  mkdirSync(at);
  const other = untilEnd(t, await Mount.start({ source, place, at, options: ['ro', 'nolock'] }));
  await where.mount.served();
  await other.served();
  return { ...where, other };
}

interface Told {
  readonly mountpoint: string;
  readonly source: string;
  readonly error?: string;
  readonly pid?: number;
  readonly effectiveOptions?: readonly string[];
}

t.test(
  'all mounts are listed; one whose process is stopped is named, and the others are shown',
  async (t) => {
    const { mount, other } = await pair(t);
    const listed = JSON.parse((await nfsFuse(['stats', '--json'])).stdout) as Told[];
    const found = (path: string) => listed.filter(({ mountpoint }) => mountpoint === path);
    t.match(found(mount.path), [{ pid: mount.pid, source: mount.entry?.source }]);
    t.match(found(other.path), [{ pid: other.pid }]);
    const [{ effectiveOptions = [] } = {}] = found(other.path);
    for (const word of ['ro', 'nosuid', 'vers=3', 'nolock', 'hard', 'timeo=600'])
      t.ok(effectiveOptions.includes(word), word);

    other.signal('SIGSTOP');
    t.teardown(() => other.signal('SIGCONT'));
    const [text, json, metrics] = await Promise.all(
      [[], ['--json'], ['--prometheus']].map((args) => nfsFuse(['stats', ...args])),
    );
    other.signal('SIGCONT');
    t.equal(text?.status, 1);
    t.ok(text?.stdout.includes(` on ${mount.path}, process ${mount.pid}`), 'the other one is shown');
    t.match(text?.stdout, /options in force: rw,nosuid,.*,vers=3,/);
    t.ok(
      text?.stderr.includes(`The process that serves ${other.path} cannot be asked.`),
      'the silent one is named',
    );
    t.equal(json?.status, 1);
    const answers = JSON.parse(json?.stdout ?? '') as Told[];
    t.match(
      answers
        .filter(({ mountpoint }) => [mount.path, other.path].includes(mountpoint))
        .map(({ error }) => error),
      [undefined, /cannot be asked/],
    );
    t.match(metrics, { status: 0, stderr: '' });
    const up = (metrics?.stdout ?? '').split('\n').filter((line) => line.startsWith('nfs_fuse_up{'));
    t.match(
      up.find((line) => line.includes(`"${mount.path}"`)),
      / 1$/,
    );
    t.match(
      up.find((line) => line.includes('a \\"quoted\\" \\\\ place"')),
      / 0$/,
    );
  },
);

t.test('the metrics are sound, and are those of the calls', async (t) => {
  const { mount, agent } = await embeddedMount(t);
  await agent.writeFile('file', Buffer.alloc(100_000, 'x'));
  const { stdout } = await nfsFuse(['stats', '--prometheus', mount.path]);
  const kinds = new Map<string, string>();
  let family = '';
  const values = new Map<string, number>();
  t.ok(stdout.endsWith('\n'));
  for (const line of stdout.trimEnd().split('\n')) {
    const [, help] = /^# HELP (\w+) \S.*\.$/.exec(line) ?? [];
    const [, typed, type] = /^# TYPE (\w+) (counter|gauge|histogram)$/.exec(line) ?? [];
    const [, name, labels, value] = /^(\w+)(\{.*\}) (\S+)$/.exec(line) ?? [];
    if (help !== undefined) {
      t.notOk(kinds.has(help), `${help} comes once`);
      family = help;
    } else if (typed !== undefined && type !== undefined) {
      t.equal(typed, family);
      kinds.set(typed, type);
    } else {
      if (name === undefined) throw new Error(`no sample: ${line}`);
      const kind = kinds.get(family);
      const ends = kind === 'histogram' ? /^(_bucket|_sum|_count)$/ : /^$/;
      if (!name.startsWith(family) || !ends.test(name.slice(family.length)))
        t.fail(`${line} is not of ${family}`);
      if (kind === 'counter' && !name.endsWith('_total')) t.fail(`${name} is a counter`);
      if (!metricNames().includes(name)) t.fail(`${name} has no such name`);
      if (values.has(`${name}${labels}`)) t.fail(`${line} comes twice`);
      if (!Number.isFinite(Number(value))) t.fail(`${line} has no number`);
      values.set(`${name}${labels}`, Number(value));
    }
  }
  const where = `server="127.0.0.1",export="/export",mountpoint="${mount.path}"`;
  const writes = values.get(`nfs_fuse_rpc_calls_total{${where},program="NFS",procedure="WRITE"}`);
  t.ok((writes ?? 0) > 0, 'WRITEs are counted');
  for (const end of ['_count', '_bucket'])
    t.equal(
      values.get(
        `nfs_fuse_rpc_rtt_seconds${end}{${where},program="NFS",procedure="WRITE"${end === '_bucket' ? ',le="+Inf"' : ''}}`,
      ),
      writes,
    );
  t.ok(
    (values.get(`nfs_fuse_rpc_sent_bytes_total{${where},program="NFS",procedure="WRITE"}`) ?? 0) > 100_000,
  );
  const kernel = values.get(`nfs_fuse_fuse_requests_total{${where},operation="WRITE"}`);
  t.ok((kernel ?? 0) > 0, 'requests of the kernel are counted');
  t.equal(values.get(`nfs_fuse_fuse_request_seconds_count{${where},operation="WRITE"}`), kernel);
  t.ok((values.get(`nfs_fuse_fuse_request_seconds_sum{${where},operation="WRITE"}`) ?? 0) > 0);
});

t.test('what does not go together is refused', async (t) => {
  for (const [args, message, remedy] of [
    [['--prometheus', '--json'], /format of its own/, /Leave out/],
    [['--count', '2'], /about the reports of --interval/, /--interval SECONDS/],
    [['--interval', '0'], /--interval=0 is not a number of seconds from 0\.1/, /--interval 5/],
    [['--interval', '5s'], /--interval=5s is not/, /without a unit/],
    [['--interval', '1', '--count', '0'], /--count=0 is not a number of reports/, /--count 10/],
    [['--interval', '1', '/'], /\/ is not mounted by nfs-fuse/, /findmnt/],
    [['--prometheus', '/'], /\/ is not mounted by nfs-fuse/, /findmnt/],
  ] as const)
    failsOnce(t, await nfsFuse(['stats', ...args]), message, remedy);
});
