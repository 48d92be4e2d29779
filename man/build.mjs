/**
 * Makes the manual page nfs-fuse(8) of man/nfs-fuse.8.in. Owns its lists of mount options: the names are those of the option table
 * (lib/mount/options/mount-option-table.ts), the descriptions those of the table in README.md, and the reasons of options that are
 * refused are what the option table says when it refuses them.
 *
 * usage: node man/build.mjs FILE
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '..');
/** mandoc asks for lines of at most 80 bytes. */
const WIDTH = 78;
/** Characters of README.md that are not ASCII, as roff spells them. */
const SPECIAL = { '…': '\\&...', '’': '\\(cq', '“': '\\(lq', '”': '\\(rq', '→': '\\(->' };

/** The option table as it is now: this runs before and without a build, too. */
async function optionTable() {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['lib/mount/options/mount-option-table.ts'],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
  const [{ contents }] = outputFiles;
  return import(`data:text/javascript;base64,${Buffer.from(contents).toString('base64')}`);
}

/** The effect of an option on a draft: it sets flags of the kernel, it is refused with a message, or something else. */
function effectOf({ apply }, name) {
  const draft = { client: {}, fuse: {}, flags: new Map(), notes: [] };
  try {
    apply(draft, undefined, name);
  } catch (error) {
    if (error.remedy !== undefined) return { refused: `${error.message} ${error.remedy}` };
  }
  return { isKernelFlag: draft.flags.size > 0 };
}

/** The rows of the table of mount options in README.md: cells without the vertical bars. */
function readmeRows(readme) {
  const section = /^### Mount options$(.*?)^#/ms.exec(readme)?.[1] ?? '';
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .split(/(?<!\\)\|/)
        .slice(1, -1)
        .map((cell) => cell.trim().replaceAll('\\|', '|')),
    );
  if (rows.length === 0) throw new Error('README.md has no table of mount options.');
  return rows.map(([options, meaning, byDefault]) => ({
    spellings: [...options.matchAll(/`([^`]+)`/g)].map(([, spelling]) => spelling),
    goesOn: options.endsWith('…'),
    meaning,
    byDefault,
  }));
}

const nameOf = (spelling) => /^[^=[]+/.exec(spelling)[0];

const literal = (text) => text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replaceAll("'", '\\(aq');
const plain = (text) => text.replaceAll('\\', '\\e');
const special = (text) =>
  text.replace(/[^\p{ASCII}]/gu, (character) => SPECIAL[character] ?? unknown(character));

function unknown(character) {
  throw new Error(`man/build.mjs: how does roff spell ${character}?`);
}

/** An option as a tag: its name is bold, the value that it takes is not. */
function tag(spelling) {
  const [, name, open, value, close] = /^([^=[]+)(\[?=)?([^\]]*)(\]?)$/.exec(spelling);
  if (open === undefined) return `\\fB${literal(name)}\\fP`;
  if (open === '=') return `\\fB${literal(name)}=\\fP\\fI${literal(value)}\\fP`;
  return `\\fB${literal(name)}\\fP[\\fB=\\fP\\fI${literal(value)}\\fP${close}`;
}

/** Markdown as lines of roff. */
function prose(markdown) {
  const text = markdown
    .replace(/\[([^\]]+)\]\(#[^)]*\)/g, '$1 in README.md')
    .replace(/\[([^\]]+)\]\(([^)#]*)[^)]*\)/g, '$1 in $2')
    .split('`')
    .map((part, index) => (index % 2 === 0 ? plain(part) : `\\fB${literal(part)}\\fP`))
    .join('');
  return wrapped(special(text));
}

/** Lines of at most WIDTH bytes. A sentence begins a line, and no line begins like a request. */
function wrapped(text) {
  const lines = [];
  for (const sentence of text.split(/(?<=[.?!]) /)) {
    let line = '';
    for (const word of sentence.split(' ')) {
      const longer = line === '' ? word : `${line} ${word}`;
      if (longer.length <= WIDTH || line === '') line = longer;
      else {
        lines.push(line);
        line = word;
      }
    }
    lines.push(line);
  }
  return lines.map((line) => (/^[.']/.test(line) ? `\\&${line}` : line));
}

function sentence(text) {
  const first = /^[a-z]/.test(text) ? `${text.charAt(0).toUpperCase()}${text.slice(1)}` : text;
  return /[.?!]$/.test(first) ? first : `${first}.`;
}

/** An entry of a list: its tags, as many on a line as there is room for, and its text. */
function entry(tags, lines) {
  const heads = wrapped(tags.map((one, index) => (index < tags.length - 1 ? `${one},` : one)).join(' '));
  return heads.flatMap((head, index) => [index === 0 ? '.TP' : '.TQ', head]).concat(lines);
}

/**
 * The options by how the page speaks of them.
 * @throws Error if the option table and README.md do not agree on what there is
 */
function sorted({ MOUNT_OPTIONS, IGNORED_OPTIONS }, rows) {
  const described = new Set(rows.flatMap(({ spellings }) => spellings.map(nameOf)));
  const strangers = [...described].filter((name) => !MOUNT_OPTIONS.has(name));
  if (strangers.length > 0)
    throw new Error(`README.md describes options that there are not: ${strangers.join(' ')}`);
  const kinds = { kernelFlags: [], ignored: [...IGNORED_OPTIONS], refused: new Map() };
  for (const [name, option] of MOUNT_OPTIONS) {
    if (described.has(name) || IGNORED_OPTIONS.has(name)) continue;
    const { refused, isKernelFlag } = effectOf(option, name);
    if (option.value === 'optional' && refused !== undefined)
      kinds.refused.set(refused, [...(kinds.refused.get(refused) ?? []), name]);
    else if (isKernelFlag) kinds.kernelFlags.push(name);
    // Its hint is the only value that it takes.
    else if (option.value === 'required' && /^\w+$/.test(option.hint))
      kinds.ignored.push(`${name}=${option.hint}`);
    else throw new Error(`README.md does not describe the mount option ${name}.`);
  }
  return kinds;
}

/** The page as roff. @throws Error if README.md and the option table do not agree */
export async function manualPage() {
  const read = (path) => readFileSync(join(ROOT, path), 'utf8');
  const rows = readmeRows(read('README.md'));
  const { kernelFlags, ignored, refused } = sorted(await optionTable(), rows);
  const inserts = {
    described: rows.flatMap(({ spellings, goesOn, meaning, byDefault }) =>
      entry([...spellings, ...(goesOn ? kernelFlags : [])].map(tag), [
        ...prose(sentence(meaning)),
        ...(byDefault === '' ? [] : prose(`The default: ${byDefault}.`)),
      ]),
    ),
    ignored: wrapped(`${ignored.map(tag).join(', ')}.`),
    refused: [...refused].flatMap(([why, names]) => entry(names.map(tag), prose(why))),
  };
  const { version } = JSON.parse(read('package.json'));
  return read('man/nfs-fuse.8.in')
    .replace('@VERSION@', version)
    .replace(/^\.\\" INSERT (\w+)$/gm, (_, name) => inserts[name].join('\n'));
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [out] = process.argv.slice(2);
  if (out === undefined) throw new Error('usage: node man/build.mjs FILE');
  mkdirSync(dirname(resolve(out)), { recursive: true });
  writeFileSync(out, await manualPage());
}
