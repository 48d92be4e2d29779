/**
 * This client never hides another client's changes behind what it happens to know: sizes that came without an open,
 * names that nobody asked for, permissions that were refused, names that lead elsewhere by now.
 */
import { constants } from 'node:fs';
import t from 'tap';
import { type Agent, errnoOf } from '../support/agent.js';
import { type Client, twoMounts } from '../support/two-mounts.js';

const { O_RDONLY, O_RDWR, O_WRONLY, O_APPEND, O_CREAT, O_EXCL } = constants;
const SEEK_END = 2;

/** No attributes run out during the test, however slow the machine is: only a call brings news. */
const LONG = ['acregmin=600', 'acregmax=600', 'acdirmin=600', 'acdirmax=600'];

const text = async (fs: Agent, path: string) => (await fs.readFile(path)).toString();

async function append(fs: Agent, path: string, data: string): Promise<void> {
  const fd = await fs.open(path, O_WRONLY | O_APPEND);
  await fs.write(fd, data);
  await fs.closeFd(fd);
}

/** How B may have come to know a file without opening it. */
const KNOWN_BY: Record<string, (b: Client, path: string) => Promise<unknown>> = {
  stat: (b, path) => b.fs.stat(path),
  'ls -l': (b) => b.mount.mustRun(['ls', '-l', '.']),
  access: (b, path) => b.mount.mustRun(['test', '-r', path]),
  chmod: (b, path) => b.mount.mustRun(['chmod', '0640', path]),
  truncate: (b, path) => b.mount.mustRun(['truncate', '-s', '4', path]),
};

for (const server of ['ganesha', 'embedded'] as const) {
  for (const options of [[], ['allow_other'], ['direct_io']]) {
    t.test(`${server} ${options}: a first open finds the size that the file has now`, async (t) => {
      const { a, b } = await twoMounts(t, server, [...LONG, ...options]);
      for (const [how, know] of Object.entries(KNOWN_BY)) {
        const path = `${how.replaceAll(' ', '')}.txt`;
        await a.fs.writeFile(path, 'one\n');
        await know(b, path);
        await append(a.fs, path, 'two\n');
        t.equal(await text(b.fs, path), 'one\ntwo\n', `read after ${how}`);
        await append(a.fs, path, 'three\n');
        const fd = await b.fs.open(path, O_RDWR);
        t.equal((await b.fs.fstat(fd)).size, 14, `fstat after ${how}`);
        await append(a.fs, path, 'four\n');
        const second = await b.fs.open(path, O_RDWR);
        t.equal(await b.fs.lseek(second, 0, SEEK_END), 19, `lseek after ${how}`);
        await b.fs.write(second, 'five\n');
        await b.fs.closeFd(second);
        await b.fs.closeFd(fd);
        t.equal(
          await text(a.fs, path),
          'one\ntwo\nthree\nfour\nfive\n',
          `nothing is overwritten after ${how}`,
        );
      }
    });
  }

  t.test(`${server}: a name that nobody asked for is found at once`, async (t) => {
    const { a, b } = await twoMounts(t, server, LONG);
    await b.fs.mkdir('ours');
    await b.mount.mustRun(['ls', '-l', '.', 'ours']);
    await a.fs.writeFile('new', 'hi');
    await a.fs.writeFile('ours/new', 'ho');
    await a.fs.mkdir('ours/folder');
    t.equal(await text(b.fs, 'new'), 'hi');
    t.equal(await text(b.fs, 'ours/new'), 'ho');
    t.equal(await errnoOf(b.fs.stat('ours/folder')), 'no error');
    t.equal(await errnoOf(b.fs.open('ours/new', O_RDWR | O_CREAT | O_EXCL)), 'EEXIST');
  });

  t.test(`${server}: one thread finds each name of a file that was replaced`, async (t) => {
    const { a, b } = await twoMounts(t, server, LONG);
    const names = ['x', 'y', 'z', 'v', 'w'];
    await a.fs.writeFile('x', 'old');
    for (const name of names.slice(1)) await a.fs.link('x', name);
    t.equal(await b.mount.mustRun(['cat', ...names]), 'old'.repeat(names.length));
    for (const name of names) {
      await a.fs.writeFile(`${name}.new`, `new ${name} `);
      await a.fs.rename(`${name}.new`, name);
    }
    // One process with one thread opens all of them.
    const all = names.map((name) => `new ${name} `).join('');
    t.equal(await b.mount.mustRun(['cat', ...names]), all);
  });

  t.test(`${server}: a refused user is let in as soon as the owner says so`, async (t) => {
    const { a, b } = await twoMounts(t, server, [...LONG, 'allow_other']);
    await a.fs.mkdir('folder');
    await a.fs.writeFile('folder/file', 'content');
    await a.fs.writeFile('folder/program', '#!/bin/sh\necho ran\n');
    await a.fs.chmod('folder/file', 0o600);
    await a.fs.chmod('folder/program', 0o644);
    const asOther = (...argv: string[]) =>
      b.mount.run(['setpriv', '--reuid=12345', '--regid=12345', '--clear-groups', ...argv]);
    t.not((await asOther('cat', 'folder/file')).status, 0);
    t.not((await asOther('./folder/program')).status, 0);
    t.not((await asOther('test', '-w', 'folder/file')).status, 0);
    await a.fs.chmod('folder/file', 0o666);
    await a.fs.chmod('folder/program', 0o755);
    t.equal(String((await asOther('cat', 'folder/file')).stdout), 'content');
    t.equal(String((await asOther('./folder/program')).stdout), 'ran\n');
    t.equal((await asOther('test', '-w', 'folder/file')).status, 0);
    await a.fs.chmod('folder', 0o700);
    await a.fs.chmod('folder/file', 0o600);
    t.not((await asOther('cat', 'folder/file')).status, 0, 'and refused as soon as he is shut out');
  });

  t.test(`${server}: once a directory is seen to have changed, all of its names are new`, async (t) => {
    const { a, b } = await twoMounts(t, server, LONG);
    for (const name of ['f', 's']) await a.fs.writeFile(name, `old ${name}`);
    t.equal(await b.mount.mustRun(['cat', 'f', 's']), 'old fold s');
    t.equal(await errnoOf(b.fs.stat('missing')), 'ENOENT');
    await a.fs.writeFile('f.new', 'new f');
    await a.fs.rename('f.new', 'f');
    await a.fs.writeFile('missing', 'there');
    await b.fs.stat('never asked for').catch(() => undefined);
    t.equal((await b.fs.stat('f')).size, 5);
    t.equal((await b.fs.stat('missing')).size, 5);
    t.equal(await text(b.fs, 'f'), 'new f');
  });

  t.test(`${server}: no program gets ESTALE in a working directory that is gone`, async (t) => {
    const { a, b } = await twoMounts(t, server, [...LONG, 'allow_other']);
    for (const successor of ['a link', 'a directory', 'nothing']) {
      const folder = `folder before ${successor}`;
      await a.fs.mkdir(folder);
      await a.fs.writeFile(`${folder}/file`, 'content');
      const inside = await b.mount.agent();
      await inside.chdir(folder);
      t.equal(await text(inside, 'file'), 'content');
      await a.fs.unlink(`${folder}/file`);
      await a.fs.rmdir(folder);
      if (successor === 'a link') await a.fs.symlink('.', folder);
      if (successor === 'a directory') await a.fs.mkdir(folder);
      for (const path of ['file', 'other', '.'])
        t.equal(await errnoOf(inside.open(path, O_RDONLY)), 'ENOENT', `${path}, before ${successor}`);
    }
  });

  t.test(`${server}: a file that was moved away is not opened by its old name`, async (t) => {
    const { a, b } = await twoMounts(t, server, LONG);
    await a.fs.writeFile('log', 'first\n');
    await a.fs.writeFile('gone', 'x');
    await a.fs.writeFile('linked', 'x');
    await a.fs.link('linked', 'other-name');
    t.equal(await b.mount.mustRun(['cat', 'log', 'gone', 'linked', 'other-name']), 'first\nxxx');
    await a.fs.rename('log', 'log.1');
    await a.fs.writeFile('log', 'second\n');
    await a.fs.rename('gone', 'elsewhere');
    await a.fs.writeFile('linked.new', 'new');
    await a.fs.rename('linked.new', 'linked');
    await append(b.fs, 'log', 'third\n');
    t.equal(
      await text(a.fs, 'log'),
      'second\nthird\n',
      'an append by path goes to the file that the path leads to',
    );
    t.equal(await text(a.fs, 'log.1'), 'first\n');
    t.equal(await errnoOf(b.fs.open('gone', O_RDONLY)), 'ENOENT');
    t.equal(await text(b.fs, 'linked'), 'new');
    t.equal(await text(b.fs, 'other-name'), 'x');
  });
}
