/** The memory curve of the long run. Transparent, with colours that read on light and on dark pages. */
import type { SoakReport } from './report.js';
import { WARM_UP_PART } from './verdict.js';

const WIDTH = 960;
const HEIGHT = 380;
const LEFT = 60;
const RIGHT = 20;
const TOP = 44;
const BOTTOM = 44;
const MIB = 1 << 20;

const STYLE = `
    text { font: 13px system-ui, sans-serif; fill: #6e7781; }
    .axis { stroke: #8b949e; stroke-opacity: .35; fill: none; }
    .warm { fill: #8b949e; fill-opacity: .1; }
    .curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
    .restart { stroke: #c2405a; stroke-width: 2; }
    .cut { stroke: #8b949e; stroke-width: 1; }
    @media (prefers-color-scheme: dark) { text { fill: #adb5bd; } }`;

const CURVES = [
  { key: 'resident', name: 'resident', colour: '#2f7fd6', dash: '' },
  { key: 'heapUsed', name: 'JavaScript heap in use', colour: '#d9730d', dash: '6 3' },
  { key: 'external', name: 'outside of the heap', colour: '#2f9e6e', dash: '2 3' },
] as const;

/** A step between marks of an axis that gives at most `most` of them. */
function stepFor(span: number, most: number): number {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
  return steps.find((step) => span / step <= most) ?? span;
}

/** An SVG document. */
export function plot(report: SoakReport): string {
  const { samples, troubles } = report;
  const end = Math.max(60, samples.at(-1)?.seconds ?? 0);
  const highest = Math.max(1, ...samples.map(({ resident }) => resident)) / MIB;
  const yStep = stepFor(highest * 1.1, 6);
  const top = Math.ceil((highest * 1.05) / yStep) * yStep;
  const foot = HEIGHT - BOTTOM;
  const x = (seconds: number) => Number((LEFT + (seconds / end) * (WIDTH - LEFT - RIGHT)).toFixed(1));
  const y = (mebibytes: number) => Number((foot - (mebibytes / top) * (foot - TOP)).toFixed(1));
  const parts = [
    `<rect class="warm" x="${LEFT}" y="${TOP}" width="${x(end * WARM_UP_PART) - LEFT}" height="${foot - TOP}"/>`,
    `<text x="${LEFT + 8}" y="${TOP + 16}">warm-up</text>`,
  ];
  for (let value = 0; value <= top; value += yStep) {
    parts.push(`<path class="axis" d="M${LEFT} ${y(value)}H${WIDTH - RIGHT}"/>`);
    parts.push(`<text x="${LEFT - 8}" y="${y(value) + 4.5}" text-anchor="end">${value}</text>`);
  }
  const minutes = end / 60;
  for (let minute = 0; minute <= minutes; minute += stepFor(minutes, 12)) {
    parts.push(
      `<text x="${x(minute * 60)}" y="${foot + 18}" text-anchor="middle">${minute}${minute === 0 ? ' min' : ''}</text>`,
    );
  }
  for (const { seconds, kind } of troubles) {
    const [className, height] = kind === 'restart' ? ['restart', 14] : ['cut', 7];
    parts.push(`<path class="${className}" d="M${x(seconds)} ${foot}v-${height}"/>`);
  }
  let legend = LEFT;
  for (const { key, name, colour, dash } of CURVES) {
    const points = samples.map((sample) => `${x(sample.seconds)} ${y(sample[key] / MIB)}`);
    const stroke = `stroke="${colour}"${dash === '' ? '' : ` stroke-dasharray="${dash}"`}`;
    if (points.length > 0) parts.push(`<path class="curve" ${stroke} d="M${points.join('L')}"/>`);
    parts.push(`<path class="curve" ${stroke} d="M${legend} 20h24"/>`);
    parts.push(`<text x="${legend + 30}" y="24.5">${name}</text>`);
    legend += 56 + name.length * 7;
  }
  parts.push(
    `<path class="restart" d="M${legend} 26v-14"/><text x="${legend + 8}" y="24.5">server restarted</text>`,
  );
  parts.push(
    `<path class="cut" d="M${legend + 124} 26v-7"/><text x="${legend + 132}" y="24.5">network failed</text>`,
    `<text x="${LEFT - 8}" y="${TOP - 8}" text-anchor="end">MiB</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">
  <title>Memory of nfs-fuse over a long run</title>
  <style>${STYLE}
  </style>
  ${parts.join('\n  ')}
</svg>
`;
}
