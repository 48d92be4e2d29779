/**
 * The commands of docs/containers.md, and those of docs/volumes.md for docker, run as they stand there. The images are made of this
 * machine's parts; that of our Dockerfile is built by podman.test.ts.
 */
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { product } from '../cli/support/product.js';
import { ServeCommand } from '../support/embedded.js';
import { publicFolder } from '../support/folders.js';
import { openPlace } from '../support/places.js';
import { mustRun, type Outcome, ProgramFailed, run, start, until } from '../support/process.js';
import { removeStaged } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';
import { commandsOf, onServer, Page } from './engines/page.js';
import { Docker } from './engines/root-engines.js';
import { makeBusyboxImage, makeNodeImage, makeProductImage } from './engines/small-images.js';
import { PODMAN, RootlessPodman } from './rootless-podman.js';
import { requireTools } from './tools.js';

const MINUTES = 60_000;
const page = new Page('containers.md');
const place = untilEnd(t, await openPlace('root'));
const server = untilEnd(t, await ServeCommand.start(place));
chmodSync(server.directory, 0o777);
const served = (name: string) => join(server.directory, name);
writeFileSync(served('by-the-server'), 'content\n');
t.teardown(removeStaged);
requireTools('podman', 'newuidmap', 'bwrap', 'dockerd', 'runc', 'busybox', 'systemd-analyze');

/** Runs a block of shell, or another text of the page. */
type Shell = (script: string) => Promise<Outcome>;

async function wellDone(t: Test, shell: Shell, script: string): Promise<string> {
  const outcome = await shell(script);
  if (outcome.status !== 0) throw new ProgramFailed([script], outcome, `exit status ${outcome.status}`);
  t.pass(script.split('\n')[0] ?? script);
  return outcome.stdout.toString();
}

/** The value of each key of a section of an INI file; of several, the last. */
function keysOf(ini: string, section: string): Map<string, string> {
  const [, rest = ''] = ini.split(`[${section}]\n`);
  const lines = (rest.split(/^\[/m)[0] ?? '').split('\n').filter((line) => line.includes('='));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]));
}

t.test('with rootless podman', { timeout: 15 * MINUTES }, async (t) => {
  const podman = untilEnd(t, await RootlessPodman.start());
  const { folder } = podman.place;
  const path = commandsOf(folder, {
    podman: ['/usr/bin/podman', ...PODMAN.slice(1)],
    'nfs-fuse': podman.place.product,
  });
  const shell: Shell = (script) => {
    const words = ['env', `PATH=${path}:${process.env.PATH}`, 'sh', '-euc', onServer(script, server)];
    return run(podman.inside(words), { cwd: '/', timeoutMs: 5 * MINUTES });
  };
  const take = (text: string) => wellDone(t, shell, page.take('sh', text));
  await makeProductImage((args) => podman.command(args), 'localhost/nfs-fuse:latest');
  await makeBusyboxImage((args) => podman.command(args), 'docker.io/library/alpine:latest');

  await t.test('check says that nothing is missing', async (t) => {
    t.match(await take('nfs-fuse check server:/export'), /ok +NFS service/);
  });

  await t.test('one command', async (t) => {
    t.match(await take('podman run --rm --device /dev/fuse nfs-fuse exec'), /by-the-server/);
  });

  await t.test('one container, its messages, and its end', async (t) => {
    t.match(
      await take(
        '--name nfs --device /dev/fuse --cap-add SYS_ADMIN --stop-timeout 60 \\\n    nfs-fuse mount -f',
      ),
      /by-the-server/,
    );
    t.equal(lstatSync(served('file')).uid, 1000, 'another user of the container has made a file');
    t.match(await take('podman logs nfs'), /Calls|calls/);
    const [stop = '', ...remove] = page.take('sh', 'podman stop nfs').split('\n');
    await wellDone(t, shell, stop);
    t.equal(await podman.inspect('container', 'nfs', '{{.State.ExitCode}}'), '0');
    await wellDone(t, shell, remove.join('\n'));
  });

  await t.test('the quadlet, with the options that it stands for', async (t) => {
    const keys = keysOf(page.take('ini', '[Container]'), 'Container');
    t.same([...keys.keys()], ['Image', 'Exec', 'AddDevice', 'AddCapability']);
    const flags = `--device ${keys.get('AddDevice')} --cap-add ${keys.get('AddCapability')}`;
    await wellDone(
      t,
      shell,
      `podman run -d --name quadlet ${flags} ${keys.get('Image')} ${keys.get('Exec')}`,
    );
    await podman.untilSays('quadlet', 'is mounted on /mnt');
    await podman.mustRun(['stop', 'quadlet']);
    t.match(await podman.end('quadlet'), { exitCode: 0 });
  });

  await t.test('for other containers', async (t) => {
    t.match(await take('~/nfs'), /by-the-server/);
    await podman.mustRun(['kill', 'nfs']);
    await podman.mustRun(['wait', 'nfs']);
    await wellDone(t, shell, 'podman unshare umount -l ~/nfs');
    await podman.mustRun(['start', 'nfs']);
    await wellDone(t, shell, 'until podman exec nfs nfs-fuse check --mount /shared; do sleep 1; done');
    await podman.mustRun(['stop', '--time=60', 'nfs']);
    await podman.mustRun(['rm', 'nfs']);
  });

  await t.test('bubblewrap', async (t) => {
    t.match(await take('bwrap'), /by-the-server/);
  });

  await t.test('an image of one’s own', async (t) => {
    await makeNodeImage((args) => podman.command(args), 'docker.io/library/node:22-slim');
    const context = join(folder, 'own');
    await mustRun(podman.place.command(['mkdir', context]));
    // A list of words, in which the options are words of their own.
    const target = `"-o", "${server.mountOptions.join(',')}", "${server.host}:/export"`;
    const text = page.take('dockerfile', 'COPY --from=nfs-fuse').replace('"server:/export"', target);
    writeFileSync(join(context, 'Dockerfile'), text);
    mkdirSync(served('app'));
    writeFileSync(served('app/main.js'), 'console.log(require("fs").readdirSync("/mnt").includes("app"))');
    await wellDone(t, shell, `podman build --pull=never -t own ${context}`);
    t.equal(await wellDone(t, shell, 'podman run --rm --device /dev/fuse own'), 'true\n');
  });
});

interface ComposeService {
  readonly image: string;
  readonly command: readonly string[];
  readonly devices?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes: readonly { source: string; target: string; bind: { propagation: string } }[];
}

/** A service of a compose file as options of docker. `folder` is in place of the folders of the machine. */
function dockerRun(service: ComposeService, folder: string): string {
  const flags = [
    ...(service.devices ?? []).flatMap((device) => ['--device', device]),
    ...(service.cap_add ?? []).flatMap((capability) => ['--cap-add', capability]),
    ...(service.security_opt ?? []).flatMap((option) => ['--security-opt', option.replace(':', '=')]),
    ...Object.entries(service.environment ?? {}).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
    ...service.volumes.flatMap(({ target, bind }) => [
      '--mount',
      `type=bind,source=${folder},target=${target},bind-propagation=${bind.propagation}`,
    ]),
  ];
  return [...flags, service.image, ...service.command].join(' ');
}

t.test('with docker', { timeout: 15 * MINUTES }, async (t) => {
  const docker = untilEnd(t, await Docker.start());
  const path = commandsOf(docker.folder, { docker: docker.program });
  const shell: Shell = (script) => {
    const words = ['env', `PATH=${path}:${process.env.PATH}`, 'sh', '-euc', onServer(script, server)];
    return run(docker.beside(words), { cwd: '/', timeoutMs: 5 * MINUTES });
  };
  const take = (text: string) => wellDone(t, shell, page.take('sh', text));
  await makeProductImage((args) => docker.command(args), 'nfs-fuse:latest');
  await makeBusyboxImage((args) => docker.command(args), 'alpine:latest');
  await mustRun(docker.command(['tag', 'alpine', 'debian']), { cwd: '/' });

  await t.test('one command', async (t) => {
    t.match(await take('docker run --rm'), /by-the-server/);
  });

  await t.test('one container', async (t) => {
    await run(['rm', '-f', served('file')]);
    await take('docker run -d --name nfs');
    t.equal(lstatSync(served('file')).uid, 1000);
    const status = await mustRun(docker.command(['inspect', '--format', '{{.State.ExitCode}}', 'nfs']), {
      cwd: '/',
    });
    t.equal(status.trim(), '0');
    await mustRun(docker.command(['rm', 'nfs']), { cwd: '/' });
  });

  await t.test('the compose file, with the options that it stands for', async (t) => {
    const text = page.take('yaml', 'services:');
    const { services } = parse(text) as { services: { nfs: ComposeService; app: ComposeService } };
    const folder = join(docker.folder, 'shared');
    // As the page has it made on the host.
    mkdirSync(join(folder, 'export'), { recursive: true });
    await wellDone(t, shell, `docker run -d --name nfs ${dockerRun(services.nfs, folder)}`);
    const place = services.nfs.environment?.NFS_FUSE_MOUNTPOINT;
    const mounted = `until docker exec nfs nfs-fuse check --mount ${place}; do sleep 1; done`;
    await wellDone(t, shell, mounted);
    t.match(await wellDone(t, shell, `docker run --rm ${dockerRun(services.app, folder)}`), /by-the-server/);
    await wellDone(t, shell, 'docker kill nfs && docker wait nfs && docker start nfs');
    await wellDone(t, shell, mounted);
    const again = await wellDone(t, shell, `docker run --rm ${dockerRun(services.app, folder)}`);
    t.match(again, /by-the-server/, 'a killed container starts again');
    await wellDone(t, shell, 'docker stop nfs && docker rm nfs');
  });

  await t.test('volumes', async (t) => {
    const plugin = untilEnd(t, start(docker.plugin, { cwd: '/' }));
    await until('the plugin is ready', () => {
      if (plugin.outcome) throw new Error(`the plugin ended: ${plugin.output}`);
      return plugin.output.includes('ready');
    });
    const listed = await wellDone(t, shell, new Page('volumes.md').take('sh', 'docker volume create'));
    t.match(listed, /\/data:\n(?:.*\n)*.*by-the-server\n(?:.*\n)*\/media:\n(?:.*\n)*.*by-the-server\n/);
    t.ok(existsSync(served('team/data')));
    await wellDone(t, shell, 'docker volume rm data media team');
  });
});

t.test('systemd takes the units', async (t) => {
  const folder = untilEnd(t, publicFolder()).path;
  const program = join(folder, 'nfs-fuse');
  symlinkSync(process.execPath, program);
  for (const name of ['srv-nfs.mount', 'nfs-export.service']) {
    const text = page.take('ini', name).replace('/usr/bin/nfs-fuse', program);
    t.equal(basename(/^# (\S+)/.exec(text)?.[1] ?? ''), name);
    writeFileSync(join(folder, name), text);
  }
  const [node = '', script = ''] = product;
  for (const kind of ['system', 'user']) {
    const argv = [
      node,
      script,
      'volume-plugin',
      `--print-units=${kind}`,
      '--socket',
      '/run/x.sock',
      '--root',
      '/srv/x',
    ];
    const printed = (await mustRun(argv))
      .split(/^# (?=[/~])/m)
      .filter((part) => /^\S+\.(socket|service)\n/.test(part));
    t.not(printed.length, 0);
    for (const part of printed) {
      const [name = '', ...lines] = part.split('\n');
      const file = kind === 'user' ? `user-${basename(name)}` : basename(name);
      writeFileSync(join(folder, file), lines.join('\n'));
    }
  }
  const units = [
    'srv-nfs.mount',
    'nfs-export.service',
    'nfs-fuse-volumes.socket',
    'nfs-fuse-volumes.service',
  ];
  for (const name of [...units, 'user-nfs-fuse-volumes.service']) {
    const { stdout, stderr } = await run(['systemd-analyze', 'verify', '--man=no', join(folder, name)], {
      cwd: folder,
    });
    // Of other units of this machine it may say what it wants.
    const said = `${stdout}${stderr}`.split('\n').filter((line) => line.includes(name));
    t.same(said, [], `${name}: ${readFileSync(join(folder, name), 'utf8')}`);
  }
});

t.test('every command of the page was run', async (t) => {
  const build = page.take('sh', 'podman build --format docker');
  const elsewhere = readFileSync(new URL('podman.test.ts', import.meta.url), 'utf8');
  t.match(elsewhere, /'--format=docker'/, `${build} is run by podman.test.ts`);
  const labelled = page.take('sh', "nfs-fuse mount -o 'allow_other,context=");
  const labels = readFileSync(new URL('../cli/selinux-options.test.ts', import.meta.url), 'utf8');
  t.match(
    labels,
    /context="/,
    `${labelled} needs SELinux: selinux-options.test.ts has what becomes of it elsewhere`,
  );
  for (const language of ['sh', 'ini', 'dockerfile']) t.same(page.untried(language), [], language);
});
