/** deploy/grafana/nfs-fuse.json, as far as tests look at it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { projectRoot } from '../../support/project.js';

export interface Place {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

export interface DataSource {
  readonly type: string;
  readonly uid: string;
}

export interface Target {
  readonly refId: string;
  readonly expr: string;
  readonly legendFormat: string;
  readonly datasource: DataSource;
}

export interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: Place;
  readonly datasource?: DataSource;
  readonly targets?: readonly Target[];
}

export interface Variable {
  readonly name: string;
  readonly type: string;
  readonly query: string | { readonly query: string };
  readonly datasource?: DataSource;
}

export interface Dashboard {
  readonly title: string;
  readonly uid: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
}

export const dashboard = JSON.parse(
  readFileSync(join(projectRoot, 'deploy/grafana/nfs-fuse.json'), 'utf8'),
) as Dashboard;

/** Every expression, with the title of its panel. */
export const expressions: readonly { readonly title: string; readonly target: Target }[] =
  dashboard.panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, target })));

/** Grafana's own. */
const BUILT_IN: Readonly<Record<string, string>> = { __rate_interval: '5m', __interval: '1m', __range: '6h' };

/** The variables in a text, and the text with their values, as Grafana puts them in. */
export function withValues(text: string): { readonly used: readonly string[]; readonly text: string } {
  const used: string[] = [];
  const put = text.replace(/\$\{?(\w+)\}?/g, (_, name: string) => {
    used.push(name);
    return BUILT_IN[name] ?? '.*';
  });
  return { used: used.filter((name) => BUILT_IN[name] === undefined), text: put };
}
