/**
 * A program that tries out a mounted folder from the inside of a container, where there is only Node. It makes the
 * everyday uses of a file system into named checks, each in a folder of its own.
 *
 * usage: smoke.js FOLDER
 *
 * Prints one line of JSON for each check: its name, and what went wrong if something did. Leaves FOLDER empty.
 */
import { deepEqual, equal, ok, throws } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { join } from 'node:path';

const DATA = randomBytes(3 * 1024 * 1024 + 17);

const digest = (data: Uint8Array) => createHash('sha256').update(data).digest('hex');
const code = (name: string) => ({ code: name });

/** Waits for an effect that comes only after the system call has returned. */
async function eventually(what: string, condition: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function withFile<T>(path: fs.PathLike, flags: string, use: (fd: number) => T): T {
  const fd = fs.openSync(path, flags);
  try {
    return use(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Each is run in an empty current folder. */
const CHECKS: Readonly<Record<string, () => void | Promise<void>>> = {
  'a file reads back as it was written': () => {
    fs.writeFileSync('file', DATA);
    equal(digest(fs.readFileSync('file')), digest(DATA));
    equal(fs.statSync('file').size, DATA.length);
  },

  'parts of a file are read and replaced': () => {
    fs.writeFileSync('file', DATA);
    withFile('file', 'r+', (fd) => {
      fs.writeSync(fd, 'middle', 1_000_000);
      const part = Buffer.alloc(12);
      fs.readSync(fd, part, 0, 12, 999_997);
      deepEqual(
        part,
        Buffer.concat([
          DATA.subarray(999_997, 1_000_000),
          Buffer.from('middle'),
          DATA.subarray(1_000_006, 1_000_009),
        ]),
      );
      fs.fsyncSync(fd);
    });
  },

  'appending adds to the end': () => {
    for (const word of ['one', 'two', 'three']) fs.appendFileSync('file', word);
    equal(fs.readFileSync('file', 'utf8'), 'onetwothree');
  },

  'a hole reads as zeros, and truncation cuts': () => {
    withFile('file', 'w+', (fd) => {
      fs.writeSync(fd, 'x', 100_000);
      const hole = Buffer.alloc(4096, 1);
      fs.readSync(fd, hole, 0, 4096, 0);
      deepEqual(hole, Buffer.alloc(4096));
      fs.ftruncateSync(fd, 10);
      equal(fs.fstatSync(fd).size, 10);
    });
    fs.truncateSync('file', 20);
    deepEqual(fs.readFileSync('file'), Buffer.alloc(20));
  },

  'a new file is made once': () => {
    fs.closeSync(fs.openSync('file', 'wx'));
    throws(() => fs.openSync('file', 'wx'), code('EEXIST'));
  },

  'what is not there is not there': () => {
    throws(() => fs.statSync('absent'), code('ENOENT'));
    throws(() => fs.readFileSync('absent/file'), code('ENOENT'));
    fs.writeFileSync('file', '');
    throws(() => fs.readFileSync('file/inside'), code('ENOTDIR'));
  },

  'folders are made, filled, refused and removed': () => {
    fs.mkdirSync('a/b/c', { recursive: true });
    throws(() => fs.mkdirSync('a'), code('EEXIST'));
    throws(() => fs.rmdirSync('a'), code('ENOTEMPTY'));
    fs.rmdirSync('a/b/c');
    deepEqual(fs.readdirSync('a/b'), []);
  },

  'a listing names every entry once, with its type': () => {
    const names = Array.from({ length: 500 }, (_, index) => `entry ${index}`).sort();
    for (const name of names) fs.writeFileSync(name, name);
    const entries = fs.readdirSync('.', { withFileTypes: true });
    deepEqual(entries.map(({ name }) => name).sort(), names);
    ok(entries.every((entry) => entry.isFile()));
  },

  'rename moves and replaces': () => {
    fs.mkdirSync('folder');
    fs.writeFileSync('a', 'a');
    fs.writeFileSync('folder/b', 'b');
    fs.renameSync('a', 'folder/b');
    deepEqual([fs.readdirSync('.'), fs.readFileSync('folder/b', 'utf8')], [['folder'], 'a']);
    throws(() => fs.renameSync('folder', 'folder/inside'), code('EINVAL'));
  },

  'a link is the same file': () => {
    fs.writeFileSync('a', 'x');
    fs.linkSync('a', 'b');
    equal(fs.statSync('a').nlink, 2);
    equal(fs.statSync('a').ino, fs.statSync('b').ino);
    fs.unlinkSync('a');
    equal(fs.readFileSync('b', 'utf8'), 'x');
  },

  'a symbolic link keeps its text and is followed': () => {
    fs.writeFileSync('target', 'reached');
    fs.symlinkSync('target', 'link');
    equal(fs.readlinkSync('link'), 'target');
    equal(fs.readFileSync('link', 'utf8'), 'reached');
    fs.symlinkSync('nowhere', 'dangling');
    throws(() => fs.statSync('dangling'), code('ENOENT'));
    ok(fs.lstatSync('dangling').isSymbolicLink());
  },

  'modes and times are set': () => {
    fs.writeFileSync('file', 'x');
    fs.chmodSync('file', 0o640);
    equal(fs.statSync('file').mode & 0o7777, 0o640);
    fs.utimesSync('file', 1_000_000_000, 1_234_567_890.5);
    deepEqual(
      [fs.statSync('file').atimeMs, fs.statSync('file').mtimeMs],
      [1_000_000_000_000, 1_234_567_890_500],
    );
  },

  'names may have any bytes and 255 of them': () => {
    const names = [Buffer.from('n'.repeat(255)), Buffer.from([0xff, 0xfe, 0x0a]), Buffer.from('ünï 😀')];
    for (const name of names) fs.writeFileSync(name, name);
    const byBytes = (a: Buffer, b: Buffer) => Buffer.compare(a, b);
    deepEqual(fs.readdirSync('.', { encoding: 'buffer' }).sort(byBytes), names.sort(byBytes));
    throws(() => fs.writeFileSync('n'.repeat(256), ''), code('ENAMETOOLONG'));
  },

  'an unlinked file stays usable until it is closed': async () => {
    withFile('file', 'w+', (fd) => {
      fs.writeSync(fd, 'before');
      fs.unlinkSync('file');
      throws(() => fs.statSync('file'), code('ENOENT'));
      fs.writeSync(fd, ' after', 6);
      const text = Buffer.alloc(12);
      fs.readSync(fd, text, 0, 12, 0);
      equal(text.toString(), 'before after');
    });
    await eventually('nothing is left of the file', () => fs.readdirSync('.').length === 0);
  },

  'a file system has room and says so': () => {
    const { bsize, blocks, bavail } = fs.statfsSync('.');
    ok(bsize > 0 && blocks > 0 && bavail > 0);
  },

  'a script is executed, and programs see what others wrote': () => {
    fs.writeFileSync('script', '#!/bin/sh\necho "$1" > out && cat out\n', { mode: 0o755 });
    equal(execFileSync('./script', ['from a program'], { encoding: 'utf8' }), 'from a program\n');
    equal(fs.readFileSync('out', 'utf8'), 'from a program\n');
  },

  'cp -a and tar keep what they copy': () => {
    fs.mkdirSync('from/deep', { recursive: true });
    for (let index = 0; index < 20; index++)
      fs.writeFileSync(`from/deep/${index}`, DATA.subarray(0, index * 1000));
    fs.symlinkSync('deep/3', 'from/link');
    fs.utimesSync('from/deep/7', 1_111_111_111, 1_111_111_111);
    execFileSync('cp', ['-a', 'from', 'copy']);
    execFileSync('sh', ['-c', 'mkdir untarred && tar -C from -cf - . | tar -C untarred -xf -']);
    for (const folder of ['copy', 'untarred']) {
      for (let index = 0; index < 20; index++) {
        equal(digest(fs.readFileSync(`${folder}/deep/${index}`)), digest(DATA.subarray(0, index * 1000)));
      }
      equal(fs.statSync(`${folder}/deep/7`).mtimeMs, 1_111_111_111_000);
      equal(fs.readlinkSync(`${folder}/link`), 'deep/3');
    }
  },
};

const top = process.argv[2] ?? '.';
for (const [index, [name, check]] of Object.entries(CHECKS).entries()) {
  const folder = join(top, `smoke${index}`);
  let error: string | undefined;
  try {
    fs.mkdirSync(folder);
    process.chdir(folder);
    await check();
  } catch (problem) {
    error = String(problem);
  }
  process.chdir('/');
  try {
    fs.rmSync(folder, { recursive: true, force: true });
  } catch (problem) {
    error ??= `cannot be cleared away: ${String(problem)}`;
  }
  console.log(JSON.stringify({ name, error }));
}
