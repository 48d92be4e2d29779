/** Reads what a test file reports (TAP 14): how many assertions held, and what failed, with its diagnosis. */

/**
 * @typedef {object} Report
 * @property {number} pass assertions that held
 * @property {number} fail assertions that did not
 * @property {number} other assertions that were skipped or left to do
 * @property {string[]} failed the paths of those, "test > subtest > assertion"
 * @property {string} failures what failed, with tap's diagnosis; empty if nothing did
 */

const POINT = /^( *)(not )?ok \d+(?: - (.*))?$/;
const SUBTEST = /^( *)# Subtest: (.*)$/;
/** Lines of the test itself, without those that tap adds (times, totals). */
const COMMENT = /^ *# (?!time=|\{ )(.*)$/;
const MAX_COMMENTS = 60;
/** A diagnosis longer than this says nothing more. */
const MAX_DIAGNOSIS_LINES = 60;

/**
 * Counts the assertions of a report; a subtest's own line repeats what is in it, and does not count.
 *
 * @param {string} text
 * @returns {Report}
 */
export function readReport(text) {
  const report = { pass: 0, fail: 0, other: 0, failed: [], failures: '' };
  const open = [];
  const comments = [];
  let diagnosis;
  let lastFailed = false;
  for (const line of text.split('\n')) {
    if (diagnosis !== undefined) {
      if (diagnosis.lines.length < MAX_DIAGNOSIS_LINES) diagnosis.lines.push(line);
      if (line !== `${diagnosis.indent}...`) continue;
      if (lastFailed) report.failures += `${diagnosis.lines.join('\n')}\n`;
      diagnosis = undefined;
      continue;
    }
    const yaml = /^( *)---$/.exec(line);
    const subtest = SUBTEST.exec(line);
    const point = POINT.exec(line);
    const comment = COMMENT.exec(line);
    if (yaml !== null) diagnosis = { indent: yaml[1], lines: [line] };
    else if (subtest !== null) open.push({ indent: subtest[1].length, name: subtest[2] });
    else if (point !== null) {
      const [, indent, not, name = ''] = point;
      const path = [...open.map((test) => test.name), name].join(' > ');
      lastFailed = false;
      if (open.at(-1)?.indent === indent.length) open.pop();
      else if (/ # (SKIP|TODO)\b/i.test(name)) report.other++;
      else if (not) {
        report.fail++;
        report.failed.push(path);
        report.failures += `${path}\n`;
        lastFailed = true;
      } else report.pass++;
    } else if (comment !== null && comments.push(comment[1]) > MAX_COMMENTS) comments.shift();
  }
  if (report.fail > 0 && comments.length > 0) report.failures += `said meanwhile:\n${comments.join('\n')}\n`;
  return report;
}
