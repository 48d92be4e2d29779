/** Reads what tap reports (TAP 14, one subtest per file): how each file went, and what failed in it. */

/**
 * @typedef {object} FileResult
 * @property {string} file
 * @property {number} pass assertions that held
 * @property {number} fail assertions that did not; at least 1 where the file as a whole failed
 * @property {number} other assertions that were skipped or left to do
 * @property {number} milliseconds
 * @property {string} failures what failed, with tap's diagnosis; empty if nothing did
 */

const POINT = /^( *)(not )?ok \d+(?: - (.*))?$/;
const SUBTEST = /^( *)# Subtest: (.*)$/;
/** What a test says of itself; not what tap adds (times, totals). */
const COMMENT = /^ +# (?!time=|\{ )(.*)$/;
const MAX_COMMENTS = 60;
/** A diagnosis longer than this says nothing more. */
const MAX_FAILURE_LINES = 60;

/**
 * The results of the files that ran to their end, in the order of the report.
 *
 * @param {string} report
 * @returns {FileResult[]}
 */
export function readReport(report) {
  const results = [];
  let open = [];
  let current = newResult();
  let diagnosis;
  for (const line of report.split('\n')) {
    if (diagnosis !== undefined) {
      if (diagnosis.lines.length < MAX_FAILURE_LINES) diagnosis.lines.push(line);
      if (line === `${diagnosis.indent}...`) {
        if (diagnosis.wanted) current.failures += `${diagnosis.lines.join('\n')}\n`;
        diagnosis = undefined;
      }
      continue;
    }
    const yaml = /^( *)---$/.exec(line);
    if (yaml !== null) {
      diagnosis = { indent: yaml[1], lines: [line], wanted: current.lastFailed };
      continue;
    }
    const subtest = SUBTEST.exec(line);
    if (subtest !== null) {
      open.push({ indent: subtest[1].length, name: subtest[2] });
      continue;
    }
    const point = POINT.exec(line);
    if (point === null) {
      const said = COMMENT.exec(line);
      if (said !== null && current.comments.push(said[1]) > MAX_COMMENTS) current.comments.shift();
      continue;
    }
    const [, indent, not, text = ''] = point;
    const closing = open.at(-1)?.indent === indent.length;
    const names = open.map(({ name }) => name);
    if (closing) open.pop();
    if (indent.length === 0) {
      if (not && current.fail === 0) {
        current.fail = 1;
        current.failures += `${text}\n`;
      }
      const [, file = text, ms = '0'] = /^(\S+) # time=([\d.]+)ms/.exec(text) ?? [];
      const { lastFailed, comments, ...result } = current;
      if (result.fail > 0 && comments.length > 0)
        result.failures += `said meanwhile:\n${comments.join('\n')}\n`;
      results.push({ ...result, file: file.replace(/ # .*/, ''), milliseconds: Number(ms) });
      open = [];
      current = newResult();
      continue;
    }
    current.lastFailed = false;
    if (closing) continue;
    if (/ # (SKIP|TODO)\b/i.test(text)) current.other++;
    else if (not) {
      current.fail++;
      current.lastFailed = true;
      current.failures += `${[...names, text].join(' > ')}\n`;
    } else current.pass++;
  }
  return results;
}

function newResult() {
  return {
    file: '',
    pass: 0,
    fail: 0,
    other: 0,
    milliseconds: 0,
    failures: '',
    lastFailed: false,
    comments: [],
  };
}
