/**
 * The image of our Dockerfile in rootless podman, as an ordinary user runs it. The base image is made here, and npm
 * may be reachable from this machine only: the build and the containers use its network.
 */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { publicFolder } from '../support/folders.js';
import { Ganesha } from '../support/ganesha.js';
import { MemoryGroup } from '../support/memory-group.js';
import { mustRun, type Outcome, until } from '../support/process.js';
import { untilEnd } from '../support/until-end.js';
import { makeBaseImage, npmSecret } from './base-image.js';
import { buildContext } from './build-context.js';
import { stillRun } from './namespaces.js';
import { RootlessPodman } from './rootless-podman.js';
import { compileSmoke, showSmoke } from './run-smoke.js';
import { requireTools } from './tools.js';

const IMAGE = 'localhost/nfs-fuse:test';
/** The exit status of a command that SIGKILL has ended. */
const KILLED = 137;
const MINUTES = 60_000;
const MIB = 1024 * 1024;
const FUSE = ['--device', '/dev/fuse'];
const MAY_MOUNT = ['--cap-add', 'SYS_ADMIN'];
/** The number of bytes that our layers may add to the base image. */
const MOST_BYTES_ADDED = 25_000_000;

async function buildImage(podman: RootlessPodman): Promise<void> {
  const base = await makeBaseImage(podman);
  const scratch = publicFolder();
  try {
    const secret = await npmSecret(scratch.path);
    // Without --format docker, podman leaves the HEALTHCHECK out.
    const options = [
      '--network=host',
      '--layers=false',
      '--format=docker',
      `--secret=id=npmrc,src=${secret}`,
    ];
    const context = await buildContext(scratch.path);
    await podman.mustRun(['build', ...options, '--build-arg', `BASE=${base}`, '--tag', IMAGE, context], {
      timeoutMs: 20 * MINUTES,
    });
    const sizes = await Promise.all([base, IMAGE].map((name) => podman.inspect('image', name, '{{.Size}}')));
    const [before = 0, after = 0] = sizes.map(Number);
    t.comment(`the base image has ${before} bytes, ours ${after}`);
    t.ok(after - before < MOST_BYTES_ADDED, `ours adds ${after - before} bytes to the base image`);
  } finally {
    await scratch.remove();
  }
}

function output({ stdout, stderr }: Outcome): string {
  return `${stdout}${stderr}`;
}

t.test('rootless podman', { timeout: 40 * MINUTES }, async (t) => {
  requireTools('podman', 'newuidmap', 'debootstrap', 'rsync');
  const podman = untilEnd(t, await RootlessPodman.start());
  await buildImage(podman);
  const server = untilEnd(t, await Ganesha.start());
  const smoke = compileSmoke(podman.place.folder);
  const target = `${server.host}:${server.exportPath}`;
  const mount = ['mount', '-f', '-o', [...server.mountOptions, 'allow_other'].join(','), target, '/mnt'];
  const shell = (script: string) => ['--rm', '--network=host', '--entrypoint=/bin/sh', IMAGE, '-c', script];

  await t.test('the image holds the product, and nothing that built it', async (t) => {
    t.equal(await podman.inspect('image', IMAGE, '{{json .Config.Entrypoint}}'), '["nfs-fuse"]');
    t.equal(await podman.inspect('image', IMAGE, '{{.Config.StopSignal}}'), 'SIGTERM');
    t.equal(await podman.inspect('image', IMAGE, '{{.Config.User}}'), '', 'root of the container');
    t.match(
      output(await podman.run(['run', '--rm', '--network=none', IMAGE])),
      /nfs-fuse mount/,
      'it shows its help',
    );
    const tools =
      'command -v gcc cc make python3 tsc tap; cd /opt/nfs-fuse; ls node_modules; find . -name leftover.js';
    const found = (await podman.run(['run', ...shell(tools)])).stdout.toString().split('\n');
    for (const name of ['koffi', 'yargs']) t.ok(found.includes(name), `${name} is there`);
    t.same(
      found.filter((line) => /\/|typescript|^tap|biome/.test(line)),
      [],
      'no compiler, no tool of development, nothing of the clone',
    );
    const trace = 'find / -xdev -name .npmrc; env';
    t.notMatch(output(await podman.run(['run', ...shell(trace)])), /npm_?(rc|config)/i, 'nor its secrets');
  });

  await t.test('with --device /dev/fuse and --cap-add SYS_ADMIN it mounts', async (t) => {
    const volume = ['--volume', `${smoke}:/smoke.mjs:ro`];
    const options = ['--detach', '--name=client', '--network=host', ...FUSE, ...MAY_MOUNT, ...volume];
    await podman.mustRun(['run', ...options, IMAGE, ...mount]);
    await podman.untilSays('client', `${target} is mounted on /mnt`);
    const exec = (script: string, user = '0') =>
      podman.run(['exec', `--user=${user}`, 'client', 'sh', '-c', script]);

    await t.test('a smoke test, from the inside', async (t) => {
      const argv = ['exec', 'client', 'node', '/smoke.mjs', '/mnt'];
      showSmoke(t, argv, await podman.run(argv, { timeoutMs: 5 * MINUTES }));
    });

    await t.test('root of the container, and another user of it', async (t) => {
      t.match(await exec('umask 022; echo of root > /mnt/root && chmod 1777 /mnt'), { status: 0 });
      const other = await exec('umask 022; id -u; cat /mnt/root; echo of another > /mnt/other', '1234:1234');
      t.equal(output(other), '1234\nof root\n');
      const seen = await exec('cat /mnt/other; stat -c %u:%g /mnt/root /mnt/other');
      t.equal(seen.stdout.toString(), 'of another\n0:0\n1234:1234\n');
      const owner = (name: string) => lstatSync(join(server.directory, name)).uid;
      t.same([owner('root'), owner('other')], [0, 1234], 'the server was told the ids of the container');
      const refused = await exec('echo more >> /mnt/root', '1234:1234');
      t.match(refused.stderr.toString(), /Permission denied/, "nobody writes to root's file");
      t.not(refused.status, 0);
    });

    await t.test('the health check tells a mount whose server hangs', async (t) => {
      const becomes = async (status: number) => {
        const isSo = async () => (await podman.run(['healthcheck', 'run', 'client'])).status === status;
        await until(`the health check ends with ${status}`, isSo, 3 * MINUTES);
      };
      await becomes(0);
      server.freeze(true);
      try {
        await becomes(1);
      } finally {
        server.freeze(false);
      }
      await becomes(0);
      t.pass('healthy, unhealthy, healthy');
    });

    await t.test('podman stop unmounts, and the container ends with 0', async (t) => {
      const writer = 'exec 3> /mnt/unfinished; echo written but not closed >&3; echo ready; sleep 3600';
      await podman.mustRun(['exec', '--detach', 'client', 'sh', '-c', writer]);
      await until(
        'the file has been written',
        async () => (await exec('test -s /mnt/unfinished')).status === 0,
        60_000,
      );
      await podman.mustRun(['stop', '--time=120', 'client'], { timeoutMs: 3 * MINUTES });
      const { exitCode, log } = await podman.end('client');
      t.equal(exitCode, 0, log);
      t.equal(readFileSync(join(server.directory, 'unfinished'), 'utf8'), 'written but not closed\n');
      t.same(
        readdirSync(server.directory).sort(),
        ['other', 'root', 'unfinished'],
        'and nothing else is left',
      );
    });
  });

  await t.test('nfs-fuse exec needs /dev/fuse alone', async (t) => {
    const exec = ['exec', '-o', server.mountOptions.join(','), target, '/mnt', '--', 'sh', '-c'];
    const script = 'echo by exec > /mnt/file && cat /mnt/file && exit 7';
    const outcome = await podman.run(['run', '--rm', '--network=host', ...FUSE, IMAGE, ...exec, script]);
    t.equal(outcome.stdout.toString(), 'by exec\n', 'the command saw the mount');
    t.equal(outcome.status, 7, "the command's exit status");
    t.equal(readFileSync(join(server.directory, 'file'), 'utf8'), 'by exec\n');
  });

  await t.test(
    'the process that serves the mount is killed again and again, and the container goes on',
    async (t) => {
      const exec = ['exec', '-o', server.mountOptions.join(','), target, '/mnt', '--', 'sh', '-ec'];
      // One program has the folder as its own, one has a file open, and each round appends, reads and lists.
      const script = `
      cd /mnt; exec 3> open; echo begun >&3
      last=
      for round in 1 2 3 4 5; do
        until pid=$(nfs-fuse stats --json /mnt | sed -n 's/^  "pid": \\([0-9]*\\),$/\\1/p') && [ "$pid" != "$last" ]; do sleep 0.2; done
        last=$pid
        kill -9 "$pid"
        echo "$round" >> rounds; echo "$round" >&3; cat rounds > /dev/null; ls | grep -q open
      done
      exec 3>&-
      cat rounds open | tr '\\n' ' '`;
      const outcome = await podman.run(['run', '--rm', '--network=host', ...FUSE, IMAGE, ...exec, script], {
        timeoutMs: 3 * MINUTES,
      });
      t.equal(outcome.stdout.toString(), '1 2 3 4 5 begun 1 2 3 4 5 ', outcome.stderr.toString());
      t.equal(outcome.status, 0);
      t.equal(readFileSync(join(server.directory, 'open'), 'utf8'), 'begun\n1\n2\n3\n4\n5\n');
    },
  );

  await t.test(
    "the container's memory limit kills the process that serves the mount, and the container goes on",
    async (t) => {
      const big = randomBytes(96 * MIB);
      writeFileSync(join(server.directory, 'big'), big);
      const options = [...server.mountOptions, `readahead=${64 * MIB}`, `writebehind=${8 * MIB}`].join(',');
      const exec = ['exec', '-o', options, target, '/mnt', '--', 'sh', '-ec'];
      const script = `
      cd /mnt; exec 3> kept; : > log; echo ready
      until [ -e go ]; do sleep 0.1; done
      n=0
      until [ -e over ]; do
        sha256sum big >> sums
        head -c 20000000 big > copy; cmp -n 20000000 copy big
        n=$((n + 1)); echo $n >> log; echo $n >&3
      done
      sort -u sums; cmp log kept; ls | grep -c copy; echo all right`;
      const underPressure = async () => {
        const group = untilEnd(t, new MemoryGroup());
        await podman.mustRun([
          ...['run', '--detach', '--name=limited', '--network=host', ...FUSE, IMAGE],
          ...[...exec, script],
        ]);
        await podman.untilSays('limited', 'ready');
        group.takeAll(() => podman.containers());
        t.not(group.pids.length, 0);
        // The kernel charges what a process takes from now on.
        group.limit = group.usage + 72 * MIB;
        writeFileSync(join(server.directory, 'go'), '');
        await until('processes were killed', () => group.kills >= 3 || group.pids.length === 0, MINUTES);
        group.limit = undefined;
        writeFileSync(join(server.directory, 'over'), '');
        const { kills } = group;
        return { kills, ...(await podman.end('limited')) };
      };
      let outcome = await underPressure();
      // On a busy machine the kernel chooses again before the first one's memory is free, and may take the command: docs/recovery.md.
      for (let more = 1; more <= 3 && outcome.exitCode === KILLED; more++) {
        for (const name of ['go', 'over', 'sums', 'log', 'kept', 'copy'])
          rmSync(join(server.directory, name), { force: true });
        await podman.mustRun(['rm', 'limited']);
        outcome = await underPressure();
      }
      const { exitCode, log, kills } = outcome;
      const sum = createHash('sha256').update(big).digest('hex');
      t.match(log, `\n${sum}  big\n1\nall right\n`, log);
      t.match(log, /died; process \d+ has taken the mount over/, log);
      t.equal(exitCode, 0, log);
      t.ok(kills >= 3, `${kills} kills`);
      for (const name of ['big', 'go', 'over']) rmSync(join(server.directory, name));
    },
  );

  await t.test('on a shared folder, other containers see the mount', async (t) => {
    const shared = join(podman.place.folder, 'shared');
    await mustRun(podman.place.command(['mkdir', shared]));
    const share = 'mount --bind "$0" "$0" && mount --make-shared "$0"';
    await podman.mustRun(['unshare', 'sh', '-c', share, shared]);
    const options = ['--detach', '--name=provider', '--network=host', ...FUSE, ...MAY_MOUNT];
    const onShared = mount.with(-1, '/shared');
    await podman.mustRun(['run', ...options, '--volume', `${shared}:/shared:rshared`, IMAGE, ...onShared]);
    await podman.untilSays('provider', `${target} is mounted on /shared`);
    const consumer = ['--rm', '--network=none', '--user=1234', '--volume', `${shared}:/data:rslave`];
    const read = ['--entrypoint=/bin/cat', IMAGE, '/data/file'];
    t.equal(await podman.mustRun(['run', ...consumer, ...read]), 'by exec');
    await podman.mustRun(['stop', '--time=120', 'provider'], { timeoutMs: 3 * MINUTES });
    const { exitCode, log } = await podman.end('provider');
    t.equal(exitCode, 0, log);
  });

  await t.test('it says what is missing, and how to pass it', async (t) => {
    const cases: [missing: string, options: string[], message: RegExp][] = [
      ['SYS_ADMIN', FUSE, /The kernel refused to mount on \/mnt \(EPERM\)\.\n.*--cap-add SYS_ADMIN/],
      ['/dev/fuse', MAY_MOUNT, /\/dev\/fuse does not exist\.\n.*--device \/dev\/fuse/],
    ];
    for (const [missing, options, message] of cases) {
      const outcome = await podman.run(['run', '--rm', '--network=host', ...options, IMAGE, ...mount]);
      t.equal(outcome.status, 1, `without ${missing}: exit status`);
      t.match(outcome.stderr.toString(), message, `without ${missing}`);
    }
  });

  await t.test('nothing of it is left', async (t) => {
    const storage = podman.place.folder;
    const processes = podman.processes();
    t.not(processes.length, 0);
    await podman.close();
    t.notOk(stillRun(processes), 'no process');
    t.notOk(existsSync(storage), 'no file');
  });
});
