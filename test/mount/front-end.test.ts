/** lib/mount serves any front end: here a small program that imports nothing else of the product. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import t, { type Test } from 'tap';
import ts from 'typescript';
import { parseMountRequest, startMount } from '../../lib/mount/index.js';
import type { MountStatistics } from '../../lib/mount/serve/running-mount.js';
import { EmbeddedServer } from '../../lib/server/index.js';
import { publicFolder } from '../support/folders.js';
import { mountsOf } from '../support/mount.js';
import { freePorts } from '../support/ports.js';
import { mustRun, run, start, until } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';

const isMounted = (path: string) => mountsOf(process.pid).some((entry) => entry.path === path);
const shell = (script: string) => mustRun(['sh', '-ec', script], { cwd: '/' });

interface FrontEnd {
  /** Two mount points. */
  readonly places: readonly [string, string];
  /** Gives an order, and resolves with the first line of the answer that begins with `answer`. */
  order(line: string, answer: string): Promise<string>;
  /** Ends the input; resolves with the exit status. */
  end(): Promise<number | null>;
}

/** Compiles front-end-main.ts into `folder`, so that it uses the built product. The result is its path. */
function compile(folder: string): string {
  const built = pathToFileURL(join(projectRoot, 'dist/lib')).href;
  const text = readFileSync(join(projectRoot, 'test/mount/front-end-main.ts'), 'utf8');
  const { outputText } = ts.transpileModule(text, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const program = join(folder, 'front-end.mjs');
  writeFileSync(program, outputText.replace('../../lib', built));
  return program;
}

/** Starts the program for an export of a scratch folder. */
async function frontEnd(t: Test): Promise<FrontEnd> {
  const scratch = publicFolder();
  const served = join(scratch.path, 'served');
  const places = [join(scratch.path, 'one'), join(scratch.path, 'two')] as const;
  for (const folder of [served, ...places]) mkdirSync(folder);
  const server = await EmbeddedServer.start({ path: served });
  const { port } = server;
  const argv = [
    ...['env', `XDG_RUNTIME_DIR=${scratch.path}`],
    ...[process.execPath, compile(scratch.path)],
    ...['127.0.0.1:/export', `port=${port},mountport=${port},nolock`],
  ];
  const program = start(argv, { stdio: ['pipe', 'pipe', 'pipe'], cwd: projectRoot });
  t.teardown(async () => {
    await program.stop();
    for (const place of places) await run(['umount', '-l', place]);
    await server.close();
    await scratch.remove();
  });
  let read = 0;
  return {
    places,
    async order(line, answer) {
      program.child.stdin?.write(`${line}\n`);
      let found: string | undefined;
      await until(`${line} is answered`, () => {
        if (program.outcome !== undefined) throw new Error(`the front end ended: ${program.output}`);
        const lines = program.output.slice(read).split('\n').slice(0, -1);
        found = lines.find((one) => one.startsWith(answer));
        return found !== undefined;
      });
      read = program.output.length;
      return found ?? '';
    },
    async end() {
      program.child.stdin?.end();
      return (await program.ended).status;
    },
  };
}

t.test('two mounts live in one process at once, each with an end of its own', async (t) => {
  const { places, order, end } = await frontEnd(t);
  const [one, two] = places;
  t.equal(await order(`mount ${one}`, 'ready'), `ready ${one}`);
  t.equal(await order(`mount ${two}`, 'ready'), `ready ${two}`);
  await shell(`echo first > ${one}/file`);
  t.equal(await shell(`cat ${two}/file`), 'first\n', 'what one mount has closed, the other one reads');
  const text = await order(`statistics ${one}`, 'statistics');
  const statistics = JSON.parse(text.slice('statistics '.length)) as MountStatistics;
  t.match(statistics, { source: '127.0.0.1:/export', mountpoint: one });
  const written = statistics.procedures.find(({ procedure }) => procedure === 'WRITE');
  t.ok(written !== undefined && written.calls > 0, 'the statistics count the WRITE');

  t.equal(await order(`unmount ${one}`, 'ended'), `ended ${one} 0`);
  t.notOk(isMounted(one));
  t.ok(isMounted(two), 'the other mount stays');
  await shell(`echo second > ${two}/file; test -z "$(ls ${one})"`);
  t.equal(await order(`unmount ${two}`, 'ended'), `ended ${two} 0`);
  t.notOk(isMounted(two));
  t.equal(await end(), 0, 'nothing keeps the process');
});

t.test('a process mounts on the same place again after it has unmounted', async (t) => {
  const { places, order, end } = await frontEnd(t);
  const [place] = places;
  for (const round of ['first', 'second']) {
    t.equal(await order(`mount ${place}`, 'ready'), `ready ${place}`);
    await shell(`echo ${round} >> ${place}/file`);
    t.equal(await order(`unmount ${place}`, 'ended'), `ended ${place} 0`);
    t.notOk(isMounted(place));
  }
  t.equal(await order(`mount ${place}`, 'ready'), `ready ${place}`);
  t.equal(await shell(`cat ${place}/file`), 'first\nsecond\n');
  t.equal(await order(`unmount ${place}`, 'ended'), `ended ${place} 0`);
  t.equal(await end(), 0, 'nothing keeps the process');
});

t.test('another process can unmount such a mount, and learns that everything is written back', async (t) => {
  const { places, order, end } = await frontEnd(t);
  const [place] = places;
  await order(`mount ${place}`, 'ready');
  await shell(`echo text > ${place}/file`);
  const product = join(projectRoot, 'dist/bin/nfs-fuse.js');
  const runtime = `XDG_RUNTIME_DIR=${dirname(place)}`;
  const fate = await mustRun(['env', runtime, process.execPath, product, 'umount', '--json', place]);
  t.match(JSON.parse(fate), { mountpoint: place, writtenBack: true });
  t.equal(await end(), 0);
});

t.test('a front end ends a start that waits for the server, with its own reason', async (t) => {
  const [port = 0] = await freePorts(1);
  const scratch = untilEnd(t, publicFolder());
  const request = parseMountRequest('127.0.0.1:/export', [`port=${port},mountport=${port},nolock,retry=1`]);
  const abort = new AbortController();
  const reason = new Error('the user has changed his mind');
  const started = startMount(request, scratch.path, {
    log: { info: () => {}, warn: () => {}, error: () => {} },
    signal: abort.signal,
    retrying: () => abort.abort(reason),
  });
  await t.rejects(started, reason);
  t.notOk(isMounted(scratch.path));
});

/** The files of lib that `file` imports, directly or through others. */
function importsOf(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  for (const [, path = ''] of readFileSync(file, 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)\.js'/g))
    importsOf(resolve(dirname(file), `${path}.ts`), seen);
  return seen;
}

t.test('lib/mount needs no command line, and leaves process and standard streams to the front end', (t) => {
  const lib = join(projectRoot, 'lib');
  const reached = [...importsOf(join(lib, 'mount/index.ts'))].map((file) => relative(lib, file));
  t.ok(reached.includes('mount/serve/start.ts'));
  t.strictSame(
    reached.filter((file) => /^(cli|exec|check|demo|server|mount\/process)\//.test(file)),
    [],
    'the face of lib/mount reaches no front end, and nothing that belongs to a process',
  );
  const own = readdirSync(join(lib, 'mount'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !file.startsWith('process/'))
    .map((file) => [file, readFileSync(join(lib, 'mount', file), 'utf8')] as const);
  const forbidden =
    /\bprocess\.(exit|exitCode|on|once|stdout|stderr|chdir)\b|\bconsole\.|\bstandardError\b|'yargs'/;
  t.strictSame(
    own.filter(([, text]) => forbidden.test(text)).map(([file]) => file),
    [],
  );
  t.end();
});
