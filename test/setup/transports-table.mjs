/**
 * The end-to-end suites over each way to mount: which there are, what of a suite is impossible over which way and why,
 * and the table that docs/transports.md shows.
 */

/** A way to mount: its transport, and who mounts (test/support/places.ts). */
export const WAYS = [
  { title: 'kernel, root', place: 'root' },
  { title: 'kernel, user namespace', place: 'userns' },
  { title: 'kernel, plain user', place: 'user' },
  { title: 'fuse-native, root', place: 'root', transport: 'fuse-native' },
  { title: 'fuse-native, plain user', place: 'user', transport: 'fuse-native' },
];

/** Suite -> what it shows. */
export const SUITES = {
  files: 'reading and writing',
  objects: 'names, links, folders, special files',
  directories: 'listings, also huge ones',
  names: 'names of any bytes',
  attributes: 'modes, owners, times, sizes',
  users: 'several users on one mount',
  'large-file': 'offsets beyond 2 and 4 GiB',
  'source-tree': 'tar, rsync, git and make on 2 000 files',
};

const isNative = (way) => way.transport === 'fuse-native';

/** Suites that make no sense over a way. */
const NOT_RUN = [
  {
    suite: 'users',
    applies: (way) => isNative(way),
    reason:
      'fuse-native does not say who calls: everybody acts as the user who mounts, and allow_other is refused',
  },
  {
    suite: 'users',
    applies: (way) => way.place !== 'root',
    reason:
      'needs several users: these two ways have one, while in a namespace with a range of ids (/etc/subuid) ' +
      'test/e2e/identity-matrix.test.ts has several',
  },
];

/** Behaviours that fail over a way, as README says they must; by the name of the test. */
const IMPOSSIBLE = [
  {
    suite: 'attributes',
    applies: isNative,
    tests:
      /utimensat sets times to the nanosecond|UTIME_OMIT leaves a time alone|times that were set outlive/,
    reason: 'fuse-native has times in whole milliseconds, and libfuse 2 drops the setting of one time alone',
  },
  {
    suite: 'source-tree',
    applies: isNative,
    tests: /rsync, (by size and time|the other way round)/,
    reason:
      'tar sets the modification time alone, which libfuse 2 drops: the sizes and contents agree, the times do not',
  },
];

/** Why a suite has another number of assertions over a way than it has as root. */
const OTHER_NUMBERS = [
  {
    suite: 'objects',
    applies: (way) => way.place !== 'root',
    reason: 'only real root makes device nodes: 1 assertion, that nobody else can, in place of 3',
  },
  {
    suite: 'directories',
    applies: (way) => way.place !== 'root',
    reason:
      'the huge listings (100 000 and 10 000 entries, 12 assertions) are made as root only: nothing in them depends on ' +
      'who mounts',
  },
  {
    suite: 'attributes',
    applies: (way) => way.place !== 'root',
    reason:
      'only a root who has several ids gives files to others: 1 assertion, that nobody else can, in place of 6',
  },
  {
    suite: 'attributes',
    applies: (way) => way.place === 'user',
    reason: 'modes keep out only who is not root: 4 assertions more',
  },
];

/** Why a suite is not run over a way; undefined if it is. */
export function whyNotRun(suite, way) {
  return NOT_RUN.find((rule) => rule.suite === suite && rule.applies(way))?.reason;
}

/**
 * Divides what failed into what must fail over this way and what must not.
 *
 * @param {{ pass: number, fail: number, other: number, failed: string[] }} report of runFile
 */
export function judge(suite, way, report) {
  const rules = IMPOSSIBLE.filter((rule) => rule.suite === suite && rule.applies(way));
  const ruleOf = (path) => rules.find(({ tests }) => tests.test(path));
  const excluded = report.failed.filter((path) => ruleOf(path) !== undefined);
  return {
    passed: report.pass,
    failed: report.fail + report.other - excluded.length,
    excluded: excluded.length,
    reasons: [...new Set(excluded.map((path) => ruleOf(path).reason))],
  };
}

/**
 * The table and its footnotes, as Markdown.
 *
 * @param {(suite: string, way: object) => { passed: number, failed: number, excluded: number, reasons: string[] } | undefined} resultOf
 */
export function renderTable(resultOf) {
  const notes = [];
  const mark = (reason) => {
    if (!notes.includes(reason)) notes.push(reason);
    return ` [${notes.indexOf(reason) + 1}]`;
  };
  const cell = (suite, way) => {
    const why = whyNotRun(suite, way);
    if (why !== undefined) return `not run${mark(why)}`;
    const result = resultOf(suite, way);
    if (result === undefined) return '?';
    const numbers = OTHER_NUMBERS.filter((rule) => rule.suite === suite && rule.applies(way));
    const parts = [`${result.passed} passed${numbers.map(({ reason }) => mark(reason)).join('')}`];
    if (result.failed > 0) parts.push(`**${result.failed} failed**`);
    if (result.excluded > 0) parts.push(`${result.excluded} excluded${result.reasons.map(mark).join('')}`);
    return parts.join(', ');
  };
  const rows = Object.entries(SUITES).map(([suite, what]) => [
    `${suite}: ${what}`,
    ...WAYS.map((way) => cell(suite, way)),
  ]);
  const table = [['suite', ...WAYS.map(({ title }) => title)], WAYS.concat('').map(() => '---'), ...rows];
  const lines = table.map((columns) => `| ${columns.join(' | ')} |`);
  return [...lines, '', ...notes.map((reason, index) => `${index + 1}. ${reason}.`)].join('\n');
}
