/**
 * Renders a Helm chart as Helm does, for the few constructs that our templates have: values, if, with, range over lists, toYaml,
 * nindent, quote and default, and trimming by dashes. Anything else, and a value that is not there, is an error. Debian has no Helm.
 */
import { stringify } from 'yaml';

/** The data of a template: `Values`, `Release` and `Chart`. */
export type ChartData = Readonly<Record<string, unknown>>;

type Node =
  | { readonly text: string }
  | { readonly output: string }
  | {
      readonly kind: Kind;
      readonly condition: string;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

type Kind = 'if' | 'with' | 'range';

interface Token {
  readonly action: boolean;
  readonly text: string;
}

/** @throws Error for whatever Helm might understand and this does not */
export function renderTemplate(template: string, data: ChartData): string {
  const tokens = tokensOf(template);
  const { nodes, next } = parse(tokens, 0);
  if (next !== tokens.length) throw new Error(`{{ ${tokens[next]?.text} }} closes nothing`);
  return rendered(nodes, data, data);
}

/** The values that a template names, as paths with dots. */
export function valuesIn(template: string): string[] {
  return [...template.matchAll(/\.Values((?:\.\w+)+)/g)].map(([, path = '']) => path.slice(1));
}

function tokensOf(template: string): Token[] {
  const tokens: Token[] = [];
  let rest = template;
  for (;;) {
    const match = /\{\{(-?)\s*(.*?)\s*(-?)\}\}/s.exec(rest);
    if (match === null) break;
    const [whole, trimBefore, action = '', trimAfter] = match;
    const before = rest.slice(0, match.index);
    tokens.push({ action: false, text: trimBefore === '-' ? before.trimEnd() : before });
    tokens.push({ action: true, text: action });
    const after = rest.slice(match.index + whole.length);
    rest = trimAfter === '-' ? after.trimStart() : after;
  }
  return [...tokens, { action: false, text: rest }];
}

/** The nodes from `start` on, up to an `else` or `end` that belongs to none of them. */
function parse(tokens: readonly Token[], start: number): { nodes: Node[]; next: number } {
  const nodes: Node[] = [];
  let at = start;
  while (at < tokens.length) {
    const { action, text } = tokens[at] ?? { action: false, text: '' };
    if (action && (text === 'end' || text === 'else')) break;
    const [, kind, condition] = /^(if|with|range)\s+(\S+)$/.exec(action ? text : '') ?? [];
    if (!action) nodes.push({ text });
    else if (kind === undefined || condition === undefined) nodes.push({ output: text });
    else {
      const body = parse(tokens, at + 1);
      const hasElse = tokens[body.next]?.text === 'else';
      const otherwise = hasElse ? parse(tokens, body.next + 1) : { nodes: [], next: body.next };
      if (tokens[otherwise.next]?.text !== 'end') throw new Error(`{{ ${text} }} has no end`);
      nodes.push({ kind: kind as Kind, condition, body: body.nodes, otherwise: otherwise.nodes });
      at = otherwise.next;
    }
    at += 1;
  }
  return { nodes, next: at };
}

function rendered(nodes: readonly Node[], root: ChartData, dot: unknown): string {
  return nodes
    .map((node) => {
      if ('text' in node) return node.text;
      if ('output' in node) return output(node.output, root, dot);
      const value = lookUp(node.condition, root, dot);
      if (!isTrue(value)) return rendered(node.otherwise, root, dot);
      if (node.kind === 'range') {
        if (!Array.isArray(value)) throw new Error(`${node.condition} is no list`);
        return value.map((one) => rendered(node.body, root, one)).join('');
      }
      return rendered(node.body, root, node.kind === 'with' ? value : dot);
    })
    .join('');
}

function output(pipeline: string, root: ChartData, dot: unknown): string {
  const [first = '', ...steps] = pipeline.split(/\s*\|\s*/);
  const [, ofYaml] = /^toYaml\s+(\S+)$/.exec(first) ?? [];
  let value = ofYaml === undefined ? lookUp(first, root, dot) : toYaml(lookUp(ofYaml, root, dot));
  for (const step of steps) {
    const [name, argument = '', ...more] = step.split(/\s+/);
    if (more.length > 0) throw new Error(`not understood: ${step}`);
    if (name === 'quote' && argument === '') value = JSON.stringify(String(value));
    else if (name === 'nindent') value = indented(String(value), Number(argument));
    else if (name === 'default') value = isTrue(value) ? value : lookUp(argument, root, dot);
    else throw new Error(`not understood: ${step}`);
  }
  if (typeof value === 'object' || value === undefined) throw new Error(`${pipeline} is no text`);
  return String(value);
}

function lookUp(path: string, root: ChartData, dot: unknown): unknown {
  if (path === '.') return dot;
  if (!/^(?:\.\w+)+$/.test(path)) throw new Error(`not understood: ${path}`);
  let value: unknown = root;
  for (const key of path.slice(1).split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key))
      throw new Error(`there is no ${path}`);
    value = (value as Readonly<Record<string, unknown>>)[key];
  }
  return value;
}

/** As Go's templates have it: nothing, zero and what is empty are false. */
function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

function toYaml(value: unknown): string {
  return stringify(value).trimEnd();
}

function indented(text: string, by: number): string {
  if (!Number.isInteger(by) || by < 0) throw new Error(`nindent by ${by}`);
  return `\n${text.replace(/^(?=.)/gm, ' '.repeat(by))}`;
}
