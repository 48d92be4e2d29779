/** System calls and paths that say for certain that a lookup prepares the making of a name: all else counts for nothing. */
import t from 'tap';
import { exclusiveCall, existingIsApart, placeOf } from '../../../lib/fuse/intent/exclusive-call.js';

const STACK = 0x7ffd_4fc6_9be8;
const A = 0x7ffd_4fc6_9c00;
const B = 0x5555_0000_1000;
const AT_FDCWD = 0xffff_ff9c;
const O_WRONLY = 1;
const CREATE = 0o100 | O_WRONLY;
const EXCLUSIVE = CREATE | 0o200;

/** A line of /proc/TID/syscall. */
function shown(number: number, ...args: number[]): string {
  const six = [...args, ...new Array<number>(6).fill(0)].slice(0, 6);
  return `${[String(number), ...[...six, STACK, 0x7fbe_8ec1_0503].map((word) => `0x${word.toString(16)}`)].join(' ')}\n`;
}

t.test('calls that make a new name are known by their numbers, on each kind of processor', async (t) => {
  const path = { address: A, from: 'cwd' };
  const at5 = { address: A, from: 5 };
  for (const [what, architecture, line, expected] of [
    ['open', 'x64', shown(2, A, EXCLUSIVE, 0o644), { path, makesDirectory: false, existing: undefined }],
    ['openat', 'x64', shown(257, AT_FDCWD, A, EXCLUSIVE), { path }],
    ['openat in a descriptor', 'x64', shown(257, 5, A, EXCLUSIVE), { path: at5 }],
    ['mkdir', 'x64', shown(83, A, 0o755), { path, makesDirectory: true }],
    ['mkdirat', 'x64', shown(258, 5, A), { path: at5, makesDirectory: true }],
    ['mknod', 'x64', shown(133, A), { path, makesDirectory: false }],
    ['mknodat', 'x64', shown(259, 5, A), { path: at5 }],
    ['symlink', 'x64', shown(88, B, A), { path }],
    ['symlinkat', 'x64', shown(266, B, 5, A), { path: at5 }],
    ['link', 'x64', shown(86, B, A), { path, existing: { address: B, from: 'cwd' } }],
    ['linkat', 'x64', shown(265, 6, B, 5, A, 0), { path: at5, existing: { address: B, from: 6 } }],
    ['openat', 'arm64', shown(56, AT_FDCWD, A, EXCLUSIVE), { path }],
    ['mkdirat', 'arm64', shown(34, AT_FDCWD, A), { path, makesDirectory: true }],
    ['mknodat', 'arm64', shown(33, AT_FDCWD, A), { path }],
    ['symlinkat', 'arm64', shown(36, B, AT_FDCWD, A), { path }],
    ['linkat', 'arm64', shown(37, 6, B, 5, A, 0), { path: at5, existing: { address: B, from: 6 } }],
  ] as const)
    t.match(exclusiveCall(line, architecture), expected, `${what} on ${architecture}`);
  const wide = `257 0xffffffffffffff9c 0x${A.toString(16)} 0x${EXCLUSIVE.toString(16)} 0x0 0x0 0x0 0x7ffd4fc69be8 0x1\n`;
  t.match(exclusiveCall(wide, 'x64'), { path }, 'the upper half of an int does not count');
});

t.test('everything else is another call', async (t) => {
  const none: readonly (readonly [string, string, string])[] = [
    ['a thread that runs', 'x64', 'running\n'],
    ['a thread outside of a call', 'x64', `-1 0x${STACK.toString(16)} 0x1\n`],
    ['nothing', 'x64', ''],
    ['stat', 'x64', shown(4, A, B)],
    ['newfstatat', 'x64', shown(262, AT_FDCWD, A, B)],
    ['rename', 'x64', shown(82, B, A)],
    ['openat2, whose flags are in memory', 'x64', shown(437, AT_FDCWD, A, B, 24)],
    ['open to read', 'x64', shown(257, AT_FDCWD, A, 0)],
    ['open without O_EXCL', 'x64', shown(257, AT_FDCWD, A, CREATE)],
    ['open without O_CREAT', 'x64', shown(257, AT_FDCWD, A, 0o200)],
    ['O_PATH, with which O_CREAT does not count', 'x64', shown(257, AT_FDCWD, A, EXCLUSIVE | 0o10000000)],
    ['O_DIRECTORY', 'x64', shown(257, AT_FDCWD, A, EXCLUSIVE | 0o200000)],
    ['O_DIRECTORY', 'arm64', shown(56, AT_FDCWD, A, EXCLUSIVE | 0o40000)],
    ['an unknown descriptor', 'x64', shown(257, 0xffff_fff0, A, EXCLUSIVE)],
    ['linkat that follows a link', 'x64', shown(265, 6, B, 5, A, 0x400)],
    ['linkat of a descriptor', 'x64', shown(265, 6, B, 5, A, 0x1000)],
    ['numbers of x64 on arm64', 'arm64', shown(257, AT_FDCWD, A, EXCLUSIVE)],
    ['numbers of arm64 on x64', 'x64', shown(34, AT_FDCWD, A)],
    ['another kind of processor', 'riscv64', shown(34, AT_FDCWD, A)],
    ['x32', 'x64', shown(0x4000_0053, A)],
    [
      'symlink of a 32-bit program, which has the number of mkdir',
      'x64',
      shown(83, 0x0804_9000, 0x0804_9100),
    ],
    ['an address in a 32-bit register at its end', 'x64', shown(83, 0xffff_ffff)],
    ['an address with a tag', 'arm64', shown(34, AT_FDCWD, 2 ** 56)],
    [
      'a thread of the kernel with a copy of somebody’s arguments',
      'x64',
      shown(257, AT_FDCWD, A, EXCLUSIVE).replace(STACK.toString(16), '0'),
    ],
    ['a 32-bit stack', 'x64', shown(83, A).replace(STACK.toString(16), 'ffffd000')],
    ['too few words', 'x64', `83 0x${A.toString(16)}\n`],
    ['words that are no numbers', 'x64', shown(83, A).replace('0x0', '0xg')],
    ['more words', 'x64', shown(83, A).replace('\n', ' 0x0\n')],
  ];
  for (const [what, architecture, line] of none) t.equal(exclusiveCall(line, architecture), undefined, what);
});

t.test('a name is the last of a path, and occurs nowhere else in it', async (t) => {
  for (const [path, name, isDirectory, expected] of [
    ['new', 'new', false, { isAbsolute: false, directory: '' }],
    ['./new', 'new', false, { isAbsolute: false, directory: '' }],
    ['a/b/new', 'new', false, { isAbsolute: false, directory: 'a/b' }],
    ['a//./b///new', 'new', false, { isAbsolute: false, directory: 'a/b' }],
    ['/new', 'new', false, { isAbsolute: true, directory: '' }],
    ['//a/b/new', 'new', false, { isAbsolute: true, directory: 'a/b' }],
    ['a/news/new', 'new', false, { isAbsolute: false, directory: 'a/news' }],
    ['a/new/', 'new', true, { isAbsolute: false, directory: 'a' }],
    ['new//', 'new', true, { isAbsolute: false, directory: '' }],
    ['...', '...', false, { isAbsolute: false, directory: '' }],
    ['\xff\xfe', '\xff\xfe', false, { isAbsolute: false, directory: '' }],
  ] as const)
    t.same(placeOf(path, name, isDirectory), expected, path);
  for (const [path, name, isDirectory] of [
    ['', '', false],
    ['', 'new', false],
    ['/', '', true],
    ['other', 'new', false],
    ['new/other', 'new', false],
    ['new/new', 'new', false],
    ['new/a/new', 'new', true],
    ['a/../new', 'new', false],
    ['../new', 'new', false],
    ['a/b/..', '..', false],
    ['a/.', '.', true],
    ['a/new/', 'new', false],
    ['a/new/.', 'new', true],
    ['a/new/..', 'new', true],
    ['a/xnew', 'new', false],
    ['a/new', 'a/new', false],
  ] as const)
    t.equal(placeOf(path, name, isDirectory), undefined, `${name} in ${path}`);
});

t.test('link: the way to the existing name is that to the new one', async (t) => {
  const call = (from: number | 'cwd') => ({
    path: { address: A, from: 5 },
    existing: { address: B, from },
    makesDirectory: false,
  });
  for (const [from, path, existing, expected] of [
    [5, 'new', 'old', true],
    [5, 'a/b/new', 'a/b/old', true],
    ['cwd', '/a/new', '/a/old', true],
    ['cwd', 'new', 'old', false],
    [6, 'a/new', 'a/old', false],
    [5, 'a/new', 'b/old', false],
    [5, 'a/new', 'old', false],
    [5, 'new', 'a/old', false],
    [5, 'new', 'new', false],
    [5, 'new', '', false],
    [5, 'a/new', 'a/', false],
    [5, 'a/new', 'a/.', false],
    [5, 'a/new', 'a/..', false],
  ] as const)
    t.equal(existingIsApart(call(from), path, existing, 'new'), expected, `${from}: ${existing} -> ${path}`);
});
