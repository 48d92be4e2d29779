/** The manual page nfs-fuse(8): it speaks of every command and option there is, and of no other; roff's programs find no fault. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { MOUNT_OPTIONS } from '../../lib/mount/options/mount-option-table.js';
import { nfsFuse } from '../cli/support/product.js';
import { run } from '../support/process.js';
import { projectRoot } from '../support/project.js';

/** As `npm run build` has made it. */
const page = join(projectRoot, 'dist/man/nfs-fuse.8');
const roff = readFileSync(page, 'utf8');

/** Roff without its changes of font, and with plain hyphens. */
function plain(text: string): string {
  return text.replace(/\\f[BIPR]/g, '').replaceAll('\\-', '-');
}

/** The text behind the heading `name`, up to the next heading of the same kind or of the one above. */
function section(name: string, macro: 'SH' | 'SS' = 'SH'): string {
  const end = macro === 'SH' ? /^\.SH /m : /^\.S[HS] /m;
  const begin = `.${macro} ${name}\n`;
  const at = roff.indexOf(begin);
  if (at < 0) throw new Error(`the page has no section ${name}`);
  return roff.slice(at + begin.length).split(end)[0] ?? '';
}

/** The commands of the page, each with the text of its section. */
function commandsOf(): Map<string, string> {
  const [, ...parts] = section('COMMANDS').split(/^\.SS /m);
  return new Map(parts.map((part) => [/^[\w-]+/.exec(plain(part))?.[0] ?? '', plain(part)]));
}

const namesIn = (text: string, pattern: RegExp): string[] =>
  [...new Set([...text.matchAll(pattern)].map(([, name = '']) => name))].sort();

/** The tags of the lists in a text: what the entries are about. */
function tagsIn(text: string): string[] {
  const lines = text.split('\n');
  return lines.filter((_, index) => /^\.T[PQ]$/.test(lines[index - 1] ?? '')).map(plain);
}

/** The names of mount options in a list of spellings. */
function optionNames(spellings: readonly string[]): string[] {
  return spellings
    .flatMap((line) => line.split(/, ?/))
    .map((spelling) => spelling.trim().replace(/\.$/, ''))
    .filter((spelling) => spelling !== '')
    .map((spelling) => /^[^=[]+/.exec(spelling)?.[0] ?? spelling);
}

async function longOptionsOf(command: string): Promise<string[]> {
  const help = (await nfsFuse([command, '--help'])).stdout;
  const names = namesIn(help, /^ +(?:-\w, )*(?:--[a-z-]+, )*--([a-z][a-z-]+)/gm);
  return names.filter((name) => name !== 'help' && name !== 'version');
}

t.test('it has every command, and no other', async (t) => {
  const commands = namesIn((await nfsFuse(['--help'])).stdout, /^ +nfs-fuse ([a-z-]+) /gm);
  t.ok(commands.includes('mount') && commands.includes('completion'), 'the help has been understood');
  t.same([...commandsOf().keys()].sort(), commands);
});

t.test('each command has its options, and no other', async (t) => {
  const all = new Set<string>(['help', 'version']);
  for (const [command, text] of commandsOf()) {
    const options = command === 'completion' ? [] : await longOptionsOf(command);
    t.same(namesIn(text, /--([a-z][a-z-]+)/g), options, command);
    for (const option of options) all.add(option);
  }
  t.ok(all.has('idmap-uid'));
  const strangers = namesIn(
    plain(section('SIGNALS') + section('SYNOPSIS') + section('EXAMPLES')),
    /--([a-z][a-z-]+)/g,
  );
  // Of the commands docker and systemctl in the examples.
  const known = new Set([...all, 'driver', 'now']);
  t.same(
    strangers.filter((name) => !known.has(name)),
    [],
  );
});

t.test('every mount option is either described, accepted or refused, and there are no others', async (t) => {
  const [described = ''] = section('MOUNT OPTIONS').split(/^\.SS /m);
  const [accepted = ''] = section('Accepted without effect', 'SS').split('\nOptions that begin');
  const list = plain(accepted).split('here:\n')[1] ?? '';
  const names = [
    optionNames(tagsIn(described)),
    optionNames(list.split('\n')),
    optionNames(tagsIn(section('Refused', 'SS'))),
  ];
  for (const part of names) t.not(part.length, 0);
  t.same(names.flat().sort(), [...MOUNT_OPTIONS.keys()].sort());
});

t.test('what README.md says of an option is what the page says', async (t) => {
  const text = plain(section('MOUNT OPTIONS')).replace(/\s+/g, ' ');
  t.match(text, /\.TP nconnect=n TCP connections, 1 to 16\. The default: 1\./);
  t.match(text, /\.TP proto=tcp\|udp\|tcp6\|udp6, tcp, udp Transport; with 6 only IPv6 will do\./);
  t.match(text, /\.TP fsc\[=folder\], nofsc Keep what was read on the local disk/);
  t.match(text, /\.TP allow_root allow_root is not supported\. Use allow_other\./);
});

t.test('man and mandoc have no complaint', async (t) => {
  t.notMatch(roff, /^\.\\" INSERT|@VERSION@|[^\p{ASCII}]/mu, 'it is finished, and plain ASCII');
  const environment = { ...process.env, LC_ALL: 'C.UTF-8', MANROFFSEQ: '', MANWIDTH: '80' };
  const man = await run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', '-Z', page], {
    env: environment,
  });
  t.match(man, { status: 0 });
  t.equal(man.stderr.toString(), '');
  t.match(man.stdout.toString(), /x T utf8/, 'it has been formatted');
  const mandoc = await run(['mandoc', '-Tlint', '-Wstyle', page]);
  t.equal(mandoc.stdout.toString() + mandoc.stderr.toString(), '');
  t.equal(mandoc.status, 0);
});

t.test('npm carries it', async (t) => {
  const packed = await run(['npm', 'pack', '--dry-run', '--json', '--offline'], { cwd: projectRoot });
  t.equal(packed.status, 0, packed.stderr.toString());
  const [{ files } = { files: [] }] = JSON.parse(packed.stdout.toString()) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  t.ok(paths.includes('dist/man/nfs-fuse.8'));
  t.ok(paths.includes('deploy/helm/nfs-fuse/templates/node.yaml'), 'and what the pages say about deploying');
  const { man } = JSON.parse(readFileSync(join(projectRoot, 'package.json'), 'utf8')) as { man: string };
  t.ok(paths.includes(man), 'and package.json says where it is');
});
