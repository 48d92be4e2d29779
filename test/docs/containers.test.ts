/** The examples of docs/containers.md, as far as they can be tried without docker and Kubernetes. */
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse, parseAllDocuments } from 'yaml';
import { nfsFuse, STACK_TRACE } from '../cli/support/product.js';
import { mountsOf } from '../support/mount.js';
import { openPlace, type Place } from '../support/places.js';
import { type Background, mustRun, run, start, until } from '../support/process.js';
import { projectRoot, python } from '../support/project.js';
import { servedFolder } from '../support/served-folder.js';
import { removeStaged } from '../support/stage.js';
import { untilEnd } from '../support/until-end.js';

const text = readFileSync(join(projectRoot, 'docs/containers.md'), 'utf8');

t.teardown(removeStaged);

function blocks(language: string): string[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)]
    .filter(([, name]) => name === language)
    .map(([, , body = '']) => body);
}

const PROGRAM = 'nfs-fuse';

/** Every list of words below a node of a manifest that runs nfs-fuse: its arguments. */
function commandsIn(node: unknown): string[][] {
  if (typeof node !== 'object' || node === null) return [];
  if (Array.isArray(node)) return node.flatMap(commandsIn);
  const { image, command, args, ...others } = node as Record<string, unknown>;
  const words = [command, args].flatMap((list) => (Array.isArray(list) ? list.map(String) : []));
  // The image's entry point; in Kubernetes `command` takes its place, in compose it is the arguments.
  const isOurs = image === PROGRAM && !words.includes(PROGRAM);
  const all = isOurs ? [PROGRAM, ...words] : words;
  const at = all.indexOf(PROGRAM);
  return [...(at < 0 ? [] : [all.slice(at + 1)]), ...commandsIn(Object.values(others))];
}

t.test('the YAML is YAML', async (t) => {
  const yaml = blocks('yaml');
  t.not(yaml.length, 0);
  for (const block of yaml) {
    for (const { errors, warnings } of parseAllDocuments(block)) t.same([...errors, ...warnings], []);
    const { services, kind } = parse(block) as { services?: object; kind?: string };
    t.ok(services !== undefined || kind === 'Pod', 'of compose or Kubernetes');
  }
});

/** Errors that come only after the whole command line was understood. */
const UNDERSTOOD = [
  /127\.0\.0\.1 refuses connections to port 1 /,
  /is not a mount point/,
  /The mount point \S+ does not exist/,
  /Descriptor 3 is not (open|\/dev\/fuse)/,
];

t.test('nfs-fuse takes the commands in the YAML', async (t) => {
  for (const block of blocks('yaml')) {
    const commands = commandsIn(parse(block));
    t.not(commands.length, 0, block);
    for (const [command = '', ...args] of commands) {
      const port = command === 'check' ? [] : ['-o', 'port=1,mountport=1'];
      const there = args.map((word) => word.replace('server:', '127.0.0.1:'));
      const { stdout, stderr } = await nfsFuse([command, ...port, ...there]);
      const shown = [command, ...args].join(' ');
      t.ok(
        UNDERSTOOD.some((message) => message.test(stdout + stderr)),
        `${shown}: ${stdout}${stderr}`,
      );
    }
  }
});

t.test('every nfs-fuse command that is shown exists', async (t) => {
  const help = (await nfsFuse(['--help'])).stdout;
  const shown = [...text.matchAll(/nfs-fuse(?:", "| )(mount|umount|check|exec|stats|[a-z]+(?= server:))/g)];
  const commands = new Set(shown.map(([, command = '']) => command));
  t.ok(commands.has('mount') && commands.has('exec') && commands.has('check'));
  for (const command of commands) t.match(help, new RegExp(`^ *nfs-fuse ${command}\\b`, 'm'), command);
});

interface HandOver {
  readonly user: Place;
  readonly served: string;
  readonly mnt: string;
  readonly helper: Background;
  /** receive.py with the command of the pod and these options, as an ordinary user. */
  receive(options?: readonly string[]): string[];
}

/** The two programs as they are shown, and the helper running. */
async function handOver(t: Test): Promise<HandOver> {
  const user = untilEnd(t, await openPlace('user'));
  const { folder, served, mnt, options: port } = await servedFolder(t);
  chmodSync(served, 0o777);
  for (const program of blocks('python')) {
    const [, name = ''] = /^# (\S+\.py) /.exec(program) ?? [];
    writeFileSync(join(folder, name), program);
  }
  const socket = join(folder, 'socket');
  const helper = untilEnd(
    t,
    start([python, join(folder, 'mount-helper.py'), socket, '127.0.0.1:/export', mnt]),
  );
  return {
    user,
    served,
    mnt,
    helper,
    receive(options = []) {
      const mount = [
        'mount',
        '-f',
        '--no-keep',
        '-o',
        [port, ...options].join(','),
        '127.0.0.1:/export',
        '/dev/fd/3',
      ];
      return user.command([python, join(folder, 'receive.py'), socket, ...user.product, ...mount]);
    },
  };
}

async function serving(t: Test, argv: readonly string[]): Promise<Background> {
  const program = untilEnd(t, start(argv, { cwd: '/' }));
  await until('it is served', () => {
    if (program.outcome !== undefined) throw new Error(program.output);
    return program.output.includes('is mounted on /dev/fd/3');
  });
  return program;
}

t.test('a helper mounts, nfs-fuse serves without privilege, and is started anew when it dies', async (t) => {
  const { user, served, mnt, helper, receive } = await handOver(t);
  const first = await serving(t, receive());
  t.match(readFileSync(`/proc/${first.pid}/status`, 'latin1'), /^CapEff:\s*0+$/m);
  await mustRun(user.command(['sh', '-c', 'echo first > "$0/first"', mnt]));
  first.signal('SIGKILL');
  await first.ended;
  t.match((await run(['ls', mnt])).stderr.toString(), /Transport endpoint is not connected/);
  const second = await serving(t, receive());
  t.equal(await mustRun(user.command(['cat', join(mnt, 'first')])), 'first\n');
  await mustRun(user.command(['sh', '-c', 'echo second > "$0/second"', mnt]));
  // In the order in which a pod ends its sidecars.
  second.signal('SIGTERM');
  t.match(await second.ended, { status: 0 });
  t.notMatch(second.output, STACK_TRACE);
  helper.signal('SIGTERM');
  t.match(await helper.ended, { status: 0 });
  t.notOk(mountsOf(process.pid).some(({ path }) => path === mnt));
  t.equal(readFileSync(join(served, 'second'), 'utf8'), 'second\n');
});

t.test('a helper in another PID namespace: everything as one user', async (t) => {
  const { user, served, mnt, helper, receive } = await handOver(t);
  const { uid, gid } = user.owner;
  const alone = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', '--propagation', 'private'];
  const program = await serving(t, [...alone, ...receive([`uid=${uid}`, `gid=${gid}`])]);
  await mustRun(user.command(['sh', '-c', 'echo content > "$0/file"', mnt]));
  t.equal(readFileSync(join(served, 'file'), 'utf8'), 'content\n');
  helper.signal('SIGTERM');
  t.match(await helper.ended, { status: 0 });
  t.match(await program.ended, { status: 0 });
});
