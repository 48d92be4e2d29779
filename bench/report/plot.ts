/**
 * The results as a picture: per row, the speed of every subject as a part of the local directory's, on a
 * logarithmic scale. Transparent, with colours that read on light and on dark pages.
 */
import { LOCAL, OURS, type Report, ROOTLESS, type RowResult } from '../model.js';
import { judge, measurementOf, speedRatio } from './numbers.js';

const WIDTH = 960;
const LABELS = 440;
const RIGHT = 24;
/** Two lines of legend, and what is shown. */
const TOP = 88;
const ROW_HEIGHT = 26;
const BOTTOM = 40;

const COLOURS = ['#d9730d', '#2f9e6e', '#a45fc4', '#c2405a', '#8a7a2f', '#3f8fa8'];

const STYLE = `
    text { font: 13px system-ui, sans-serif; fill: #6e7781; }
    .axis { stroke: #8b949e; stroke-opacity: .35; }
    .one { stroke: #8b949e; stroke-width: 1.5; }
    .ours { fill: #2f7fd6; stroke: #2f7fd6; }
    .spread { stroke: #2f7fd6; stroke-opacity: .45; stroke-width: 4; }
    .target { stroke: #8b949e; stroke-width: 3; }
    @media (prefers-color-scheme: dark) { text { fill: #adb5bd; } }`;

const escapeText = (text: string) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

/** Shapes differ as well as colours. */
function marker(subject: string, order: number, x: number, y: number): string {
  const colour = COLOURS[order % COLOURS.length] ?? '#888888';
  const open = `fill="none" stroke="${colour}" stroke-width="2"`;
  if (subject === OURS) return `<circle class="ours" cx="${x}" cy="${y}" r="6"/>`;
  if (subject === ROOTLESS) {
    return `<circle class="ours" style="fill:none" stroke-width="2" cx="${x}" cy="${y}" r="6"/>`;
  }
  switch (order % 3) {
    case 0:
      return `<rect ${open} x="${x - 4.5}" y="${y - 4.5}" width="9" height="9"/>`;
    case 1:
      return `<path ${open} d="M${x} ${y - 6}L${x + 6} ${y + 5}H${x - 6}Z"/>`;
    default:
      return `<path ${open} d="M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z"/>`;
  }
}

interface Point {
  readonly subject: string;
  readonly ratio: number;
  /** The slowest and the fastest run. */
  readonly ends: readonly [number, number];
}

/** The row's subjects, fastest first, as parts of the local directory's speed. */
function points(row: RowResult): Point[] {
  const local = measurementOf(row, LOCAL)?.median;
  if (local === undefined) return [];
  return row.measurements
    .filter(({ subject }) => subject !== LOCAL)
    .map(({ subject, median, min, max }) => {
      const [ratio = 0, ...ends] = [median, min, max].map((value) => speedRatio(value, local, row.unit));
      return { subject, ratio, ends: [Math.min(...ends), Math.max(...ends)] };
    });
}

/** Target as a part of the local directory's speed. */
function targetRatio(row: RowResult): number | undefined {
  const ours = points(row).find(({ subject }) => subject === OURS);
  const judgement = judge(row).find(({ subject }) => subject === OURS);
  return ours && judgement && ours.ratio / judgement.ratio;
}

const TARGET = 'target of nfs-fuse';

/** Where each name of the legend has its marker: x and y, in as many lines as it takes. */
function legendPlaces(names: readonly string[]): Map<string, readonly [number, number]> {
  const places = new Map<string, readonly [number, number]>();
  let [x, y] = [16, 20];
  for (const name of names) {
    const width = 44 + name.length * 8;
    if (x > 16 && x + width > WIDTH) [x, y] = [16, y + 24];
    places.set(name, [x, y]);
    x += width;
  }
  return places;
}

/** 0.001 -> "0.1 %", 10 -> "10×". */
function tickLabel(exponent: number): string {
  const value = 10 ** exponent;
  return value >= 1 ? `${value}×` : `${Number((value * 100).toPrecision(1))} %`;
}

/** An SVG document, or undefined where the local directory was not measured. */
export function plot(report: Report): string | undefined {
  const rows = report.rows.filter((row) => points(row).length > 0);
  const all = rows.flatMap((row) => [...points(row).flatMap(({ ends }) => ends), targetRatio(row) ?? 1]);
  if (all.length === 0) return undefined;
  const low = Math.min(-1, Math.floor(Math.log10(Math.min(...all))));
  const high = Math.max(0, Math.log10(Math.max(...all) * 1.1));
  const x = (ratio: number) =>
    Number((LABELS + ((Math.log10(ratio) - low) / (high - low)) * (WIDTH - LABELS - RIGHT)).toFixed(1));
  const height = TOP + rows.length * ROW_HEIGHT + BOTTOM;
  const foot = TOP + rows.length * ROW_HEIGHT;
  const subjects = report.subjects.map(({ name }) => name).filter((name) => name !== LOCAL);
  const order = (name: string) =>
    subjects.filter((other) => other !== OURS && other !== ROOTLESS).indexOf(name);
  const parts: string[] = [];
  const legend = legendPlaces([...subjects, TARGET]);
  for (const name of subjects) {
    const [left = 0, middle = 0] = legend.get(name) ?? [];
    parts.push(
      marker(name, order(name), left, middle),
      `<text x="${left + 12}" y="${middle + 4.5}">${escapeText(name)}</text>`,
    );
  }
  const [left = 0, middle = 0] = legend.get(TARGET) ?? [];
  parts.push(
    `<path class="target" d="M${left} ${middle - 8}v16"/><text x="${left + 12}" y="${middle + 4.5}">${TARGET}</text>`,
    `<text x="16" y="${TOP - 14}">speed as a part of the local directory’s: further right is faster</text>`,
  );
  for (let exponent = low; exponent <= high; exponent++) {
    const at = x(10 ** exponent);
    const kind = exponent === 0 ? 'one' : 'axis';
    parts.push(
      `<path class="${kind}" d="M${at} ${TOP - 4}V${foot}"/>`,
      `<text x="${at}" y="${foot + 20}" text-anchor="middle">${tickLabel(exponent)}</text>`,
    );
  }
  rows.forEach((row, index) => {
    const y = TOP + (index + 0.5) * ROW_HEIGHT;
    parts.push(
      `<text x="${LABELS - 14}" y="${y + 4.5}" text-anchor="end">${escapeText(row.title)}</text>`,
      `<path class="axis" d="M${LABELS} ${y}H${WIDTH - RIGHT}"/>`,
    );
    const target = targetRatio(row);
    if (target !== undefined) parts.push(`<path class="target" d="M${x(target)} ${y - 9}v18"/>`);
    // Ours last, on top.
    const sorted = points(row).sort((a, b) => Number(a.subject === OURS) - Number(b.subject === OURS));
    for (const { subject, ratio, ends } of sorted) {
      if (subject === OURS) parts.push(`<path class="spread" d="M${x(ends[0])} ${y}H${x(ends[1])}"/>`);
      parts.push(marker(subject, order(subject), x(ratio), y));
    }
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img">
  <title>Speed of nfs-fuse and its peers as a part of the local directory’s</title>
  <style>${STYLE}
  </style>
  ${parts.join('\n  ')}
</svg>
`;
}
