/** No sentence in a comment, a message or a document begins with a word that makes a riddle of it; see CONTRIBUTING.md. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { projectRoot } from '../support/project.js';

/** Opens a clause that stands for a person or a thing, so that the reader has to wait for the verb. */
const RIDDLE = /^(?:Who|What|Whoever|So much|Not to|Not so)\b/;

/** The text of comments, a comment or a run of lines with comments as one piece. */
function commentsIn(path: string, text: string): string[] {
  if (path.endsWith('.yaml')) return joined(text, /(?:^|\s)#\s?(.*)$/);
  if (path.endsWith('.json'))
    return [...text.matchAll(/"description": "(.*)"/g)].map(([, description = '']) => description);
  if (path.endsWith('.py')) {
    const docstrings = [...text.matchAll(/"""(.*?)"""/gs)].map(([, comment = '']) => comment);
    return [...docstrings, ...joined(text, /(?:^|\s)#\s?(.*)$/)];
  }
  const blocks = [...text.matchAll(/\/\*\*?(.*?)\*\//gs)].map(([, comment = '']) =>
    comment.replace(/^\s*\* ?/gm, ''),
  );
  return [...blocks, ...joined(text, /(?:^|\s)\/\/ (.*)$/)];
}

/** The matches of `comment` in each line; lines that follow each other belong together. */
function joined(text: string, comment: RegExp): string[] {
  const pieces: string[] = [];
  let open = false;
  for (const line of text.split('\n')) {
    const found = comment.exec(line)?.[1];
    if (found !== undefined) pieces.push(open ? `${pieces.pop()}\n${found}` : found);
    open = found !== undefined;
  }
  return pieces;
}

/** The text of a document: paragraphs, items of lists and cells of tables, without code and headings. */
function paragraphsIn(text: string): string[] {
  return text
    .replace(/^```.*?^```$/gms, '')
    .replace(/^#+ .*$/gm, '')
    .split(/\n\s*\n|\n(?=\s*(?:[-*|]|\d+\.) ?)|\|/)
    .map((piece) => piece.replace(/^\s*(?:[-*]|\d+\.)\s+/, '').trim());
}

/** The text of a page in roff: paragraphs, without their tags and without headings. */
function roffIn(text: string): string[] {
  return text
    .replace(/^\.\\" ?/gm, '')
    .replace(/\\f[BIPR]/g, '')
    .split(/^\.(?:T[PQ]\n.*|(?:TH|SH|SS|PP|IP|EX|EE|nf|fi)\b.*)$/m)
    .map((piece) => piece.replace(/^\.(?:[BI]|[BIR]{2}) /gm, '').trim());
}

/** Texts in quotes that begin with a riddle: most are messages. */
function quotedRiddlesIn(text: string): string[] {
  return [...text.matchAll(/(["'`])((?:Who|What|Whoever|So much|Not to|Not so) .*?)\1/g)].map(
    ([, , quoted = '']) => quoted,
  );
}

/** Sentences that begin with a riddle; a question may. */
function riddlesIn(pieces: readonly string[]): string[] {
  return pieces
    .flatMap((piece) => piece.replace(/\s+/g, ' ').split(/(?<=[.?!:]["”)*_]*) /))
    .map((sentence) => sentence.replace(/^[\s"“(*_]+/, ''))
    .filter((sentence) => RIDDLE.test(sentence) && !/\?\W*$/.test(sentence));
}

function filesIn(folder: string, endings: RegExp): string[] {
  return readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => endings.test(name))
    .map((name) => `${folder}/${name}`)
    .sort();
}

const read = (path: string): string => readFileSync(join(projectRoot, path), 'utf8');

for (const folder of ['bin', 'lib', 'man', 'bench', 'test', 'deploy']) {
  t.test(`comments in ${folder} say at once what they are about`, async (t) => {
    // This file has riddles as examples.
    const files = filesIn(folder, /\.(ts|mjs|py|c|yaml|json)$/).filter(
      (path) => !path.endsWith('/plain-english.test.ts'),
    );
    t.not(files.length, 0);
    t.same(
      files.flatMap((path) => riddlesIn(commentsIn(path, read(path))).map((riddle) => `${path}: ${riddle}`)),
      [],
    );
  });
}

t.test('messages and descriptions of options say at once what they are about', async (t) => {
  const files = [...filesIn('bin', /\.(ts|mjs)$/), ...filesIn('lib', /\.ts$/)];
  t.same(
    files.flatMap((path) => riddlesIn(quotedRiddlesIn(read(path))).map((riddle) => `${path}: ${riddle}`)),
    [],
  );
});

t.test('the manual page says at once what it is about', async (t) => {
  t.same(riddlesIn(roffIn(read('man/nfs-fuse.8.in'))), []);
});

t.test('documents say at once what they are about', async (t) => {
  const documents = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...filesIn('docs', /\.md$/)];
  t.same(
    documents.flatMap((path) => riddlesIn(paragraphsIn(read(path))).map((riddle) => `${path}: ${riddle}`)),
    [],
  );
});

t.test('riddles are found wherever a sentence begins, and nowhere else', async (t) => {
  const source = [
    '/** Whoever comes last. */',
    'const a = 1; // Fine. Not to be\n// overtaken. So much for that.',
    '/**\n * One line\n * What follows. Somebody asks what is there. (Who cares.)\n */',
    "const text = 'What is in a string';",
    '// What for? For nothing.',
  ].join('\n');
  t.same(riddlesIn(commentsIn('a.ts', source)), [
    'Whoever comes last.',
    'Who cares.)',
    'Not to be overtaken.',
    'So much for that.',
  ]);
  t.same(riddlesIn(commentsIn('a.py', '"""What it is."""\nx = 1  # Fine.\n# Not so fine.')), [
    'What it is.',
    'Not so fine.',
  ]);
  t.same(riddlesIn(commentsIn('a.yaml', 'a: 1 # What it is.\nb: 2\n# Fine. Not to be.')), [
    'What it is.',
    'Not to be.',
  ]);
  t.same(riddlesIn(commentsIn('a.json', '{ "description": "What it is." }')), ['What it is.']);
  const messages = quotedRiddlesIn("say('What is it?'); tell('What is there.', `Who is it.`); a.What ");
  t.same(riddlesIn(messages), ['What is there.', 'Who is it.']);
  const roff =
    '.\\" What a comment.\n.SH What\n.TP\n\\fBWhat\\fP\nWhat it does.\n.B Who\nit is.\n.PP\n.B Not to\nbe.';
  t.same(riddlesIn(roffIn(roff)), ['What a comment.', 'What it does.', 'Who it is.', 'Not to be.']);
  const document =
    '# What\n\nFine, What\nis it.\n\n- Who asks.\n2. What else.\n\n| Not to | b |\n\n```\nWho\n```\n**What?** This.';
  t.same(riddlesIn(paragraphsIn(document)), ['Who asks.', 'What else.', 'Not to']);
});
