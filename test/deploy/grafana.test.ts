/** The dashboard asks for metrics and labels that mounts have, and Grafana can take it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { metricNames } from '../../lib/mount/metrics/mount-metrics.js';
import { nfsFuse } from '../cli/support/product.js';
import { errnoOf } from '../support/agent.js';
import { embeddedMount } from '../support/embedded-mount.js';
import { publicFolder } from '../support/folders.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { dashboard, expressions, type Place, withValues } from './support/dashboard.js';
import { labelsByMetric, samplesIn } from './support/samples.js';

const metricsIn = (text: string): string[] => [...text.matchAll(/\bnfs_fuse_\w+/g)].map(([name]) => name);
/** The data source that the user chooses. */
const CHOSEN = '$' + '{datasource}';
/** Prometheus adds these to every sample. */
const OF_PROMETHEUS = ['instance', 'job'];

t.test('panels have ids and places of their own, and each asks the chosen data source', async (t) => {
  const { panels, templating, title, uid, schemaVersion } = dashboard;
  t.match({ title, uid }, { title: 'nfs-fuse', uid: 'nfs-fuse' });
  t.ok(schemaVersion >= 36, 'data sources are named by type and uid');
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  t.equal(new Set(panels.map((panel) => panel.title)).size, panels.length, 'no title occurs twice');
  const overlaps = (a: Place, b: Place) =>
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
  for (const [index, panel] of panels.entries()) {
    const { x, w } = panel.gridPos;
    t.ok(x >= 0 && w > 0 && x + w <= 24, `${panel.title} is within the 24 columns`);
    const other = panels.slice(index + 1).find(({ gridPos }) => overlaps(gridPos, panel.gridPos));
    t.equal(other?.title, undefined, `${panel.title} covers no other`);
    const { targets = [], type } = panel;
    t.equal(targets.length === 0, type === 'row', panel.title);
    t.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length);
    const sources = type === 'row' ? [] : [panel.datasource, ...targets.map(({ datasource }) => datasource)];
    for (const source of sources) t.same(source, { type: 'prometheus', uid: CHOSEN }, panel.title);
  }
  const [first, ...others] = templating.list;
  t.match(first, { name: 'datasource', type: 'datasource', query: 'prometheus' });
  for (const { name, datasource } of others) t.same(datasource, { type: 'prometheus', uid: CHOSEN }, name);
});

t.test('variables are defined, each before its use in another one', async (t) => {
  const defined = new Set<string>();
  for (const { name, query } of dashboard.templating.list) {
    const { used } = withValues(typeof query === 'string' ? query : query.query);
    for (const variable of used) t.ok(defined.has(variable), `${variable} in ${name}`);
    defined.add(name);
  }
  for (const { title, target } of expressions)
    for (const variable of withValues(target.expr).used)
      t.ok(defined.has(variable), `${variable} in ${title}`);
});

t.test('every metric is one that mounts expose, and all that matter are there', async (t) => {
  const known = new Set(metricNames());
  const used = new Set(expressions.flatMap(({ target }) => metricsIn(target.expr)));
  t.same(
    [...used].filter((name) => !known.has(name)),
    [],
  );
  const queries = dashboard.templating.list.map(({ query }) => JSON.stringify(query)).flatMap(metricsIn);
  t.same([...new Set(queries)], ['nfs_fuse_up']);
  const docs = readFileSync(join(projectRoot, 'docs/monitoring.md'), 'utf8');
  for (const name of metricsIn(docs)) {
    const counts = [name, `${name}_bucket`].some((one) => used.has(one));
    t.ok(counts, `${name}, which docs/monitoring.md calls useful, is shown`);
  }
});

t.test('every label is one that mounts give to the metric', async (t) => {
  const cache = untilEnd(t, publicFolder());
  const { mount, agent } = await embeddedMount(t, [`fsc=${join(cache.path, 'cache')}`, 'fscsize=1g']);
  await mount.served();
  await agent.mkdir('folder');
  await agent.writeFile('folder/file', 'content');
  t.equal(await errnoOf(agent.rmdir('folder')), 'ENOTEMPTY', 'an error that the kernel is told');
  const { stdout, stderr } = await nfsFuse(['stats', '--prometheus', mount.path]);
  const exposed = labelsByMetric(samplesIn(stdout));
  t.ok(exposed.size > 40, stderr);
  for (const { title, target } of expressions) {
    const { text } = withValues(target.expr);
    const allowed = new Set<string>(OF_PROMETHEUS);
    for (const [, name = '', selector = ''] of text.matchAll(/\b(nfs_fuse_\w+)\{([^}]*)\}/g)) {
      const labels = exposed.get(name);
      t.ok(labels, `${name} is there`);
      for (const label of labels ?? []) allowed.add(label);
      for (const [, label = ''] of selector.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g))
        t.ok(labels?.has(label) || OF_PROMETHEUS.includes(label), `${title}: ${name} has the label ${label}`);
    }
    t.same(
      metricsIn(text).length,
      [...text.matchAll(/\bnfs_fuse_\w+\{/g)].length,
      `${title}: each is filtered`,
    );
    const grouped = [...text.matchAll(/\b(?:by|without) \(([^)]*)\)/g)].flatMap(([, list = '']) =>
      list.split(',').map((label) => label.trim()),
    );
    for (const label of grouped) t.ok(allowed.has(label), `${title}: grouped by ${label}`);
    const isSummed = grouped.length > 0 || /\bsum\(/.test(text);
    const shown = isSummed ? new Set(grouped) : allowed;
    for (const [, label = ''] of target.legendFormat.matchAll(/\{\{(\w+)\}\}/g))
      t.ok(shown.has(label), `${title}: the legend shows ${label}`);
    if (text.includes('histogram_quantile')) t.match(text, /by \(le[,)]/, title);
  }
});
