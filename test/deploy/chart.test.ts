/** The Helm chart: with its defaults it is what kustomize has, and each value does what values.yaml says. */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Ajv } from 'ajv';
import t from 'tap';
import { parse } from 'yaml';
import { packageInfo } from '../../lib/base/package-info.js';
import { renderTemplate, valuesIn } from './support/chart.js';
import {
  complaints,
  DEPLOY,
  type Manifest,
  manifestsIn,
  manifestsOf,
  yamlFiles,
} from './support/manifests.js';

interface Values {
  [key: string]: unknown;
}

const CHART = join(DEPLOY, 'helm/nfs-fuse');
const read = (name: string): string => readFileSync(join(CHART, name), 'utf8');
const defaults = parse(read('values.yaml')) as Values;
const about = parse(read('Chart.yaml')) as { readonly version: string; readonly appVersion: string };
const templates = yamlFiles('helm/nfs-fuse/templates');
const schema = new Ajv({ strict: false }).compile(JSON.parse(read('values.schema.json')) as object);

function merged(base: Values, changes: Values): Values {
  const all: Values = { ...base };
  for (const [key, value] of Object.entries(changes)) {
    const before = all[key];
    const isMap = (one: unknown): one is Values =>
      typeof one === 'object' && one !== null && !Array.isArray(one);
    all[key] = isMap(before) && isMap(value) ? merged(before, value) : value;
  }
  return all;
}

/** The manifests that an installation into `Namespace` makes. */
function installed(changes: Values = {}, Namespace = 'nfs-fuse'): Manifest[] {
  const data = {
    Values: merged(defaults, changes),
    Release: { Namespace, Name: 'nfs-fuse' },
    Chart: { AppVersion: about.appVersion },
  };
  return templates.flatMap((file) =>
    manifestsIn(renderTemplate(readFileSync(file, 'utf8'), data)).filter((manifest) => manifest !== null),
  );
}

interface Pod {
  readonly hostNetwork?: boolean;
  readonly dnsPolicy?: string;
  readonly containers: readonly {
    readonly args: readonly string[];
    readonly imagePullPolicy: string;
    readonly securityContext?: { readonly seLinuxOptions?: object };
  }[];
}

/** The pods of a workload. */
function podOf(workload: Manifest | undefined): Pod {
  if (workload === undefined) throw new Error('there is no such workload');
  return (workload as unknown as { readonly spec: { readonly template: { readonly spec: Pod } } }).spec
    .template.spec;
}

const byName = (manifests: readonly Manifest[]) =>
  new Map(manifests.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest]));

t.test('with its defaults, the chart is what kustomize has, but for the namespace', async (t) => {
  const base = byName(manifestsOf('kubernetes/base'));
  base.delete('Namespace nfs-fuse');
  const chart = byName(installed());
  t.same([...chart.keys()].sort(), [...base.keys()].sort());
  for (const [name, manifest] of chart) t.same(manifest, base.get(name), name);
  t.same([about.version, about.appVersion], [packageInfo().version, packageInfo().version]);
});

t.test('every value is used, and every one that is used has a default and a schema', async (t) => {
  const used = new Set(templates.flatMap((file) => valuesIn(readFileSync(file, 'utf8'))));
  const leaves = (value: unknown, path: string): string[] =>
    used.has(path) || typeof value !== 'object' || value === null || Array.isArray(value)
      ? [path]
      : Object.entries(value).flatMap(([key, inner]) => leaves(inner, path === '' ? key : `${path}.${key}`));
  t.same(leaves(defaults, '').sort(), [...used].sort());
  t.ok(schema(defaults), JSON.stringify(schema.errors));
});

t.test('the schema refuses what the chart does not know, and what cannot work', async (t) => {
  const wrong: Values[] = [
    { mountr: {} },
    { mounter: { hostnetwork: true } },
    { hostNetwork: 'yes' },
    { driver: { mountOptions: 'resvport' } },
    { driver: { mountOptions: [''] } },
    { seLinuxOptions: { kind: 'spc_t' } },
    { image: { pullPolicy: 'Sometimes' } },
    { kubeletDir: 'var/lib/kubelet' },
    { kubeletDir: '/var/lib/kubelet/' },
    { driver: { name: 'Not A Name' } },
    { controller: { replicas: 0 } },
    { node: { tolerations: [{ operator: 'Is' }] } },
    { mounter: { terminationGracePeriodSeconds: 1 } },
  ];
  for (const changes of wrong) t.notOk(schema(merged(defaults, changes)), JSON.stringify(changes));
});

t.test('values reach the manifests, which stay sound', async (t) => {
  const changes = {
    image: { repository: 'registry.example.com/nfs-fuse', tag: '9.9', pullPolicy: 'Always' },
    imagePullSecrets: [{ name: 'pull' }],
    driver: { name: 'other.csi', mountOptions: ['resvport', 'port=2049,mountport=20048'] },
    kubeletDir: '/data/kubelet',
    hostNetwork: true,
    seLinuxOptions: { type: 'spc_t' },
    mounter: { terminationGracePeriodSeconds: 99, resources: {} },
    controller: { replicas: 2, tolerations: [{ key: 'control', operator: 'Exists', effect: 'NoSchedule' }] },
    node: { nodeSelector: { disk: 'yes' }, tolerations: [] },
  };
  t.ok(schema(merged(defaults, changes)), JSON.stringify(schema.errors));
  const all = installed(changes, 'elsewhere');
  t.same(complaints(all), []);
  const text = JSON.stringify(all);
  t.notMatch(text, /\/var\/lib\/kubelet|"nfs-fuse:|nfs-fuse\.csi/);
  for (const { metadata, kind } of all)
    if (!/^(CSIDriver|Cluster)/.test(kind))
      t.equal(metadata.namespace, 'elsewhere', `${kind} ${metadata.name}`);
  const found = byName(all);
  t.match(found.get('CSIDriver other.csi'), { kind: 'CSIDriver' });
  t.match(found.get('Deployment nfs-fuse-controller'), {
    spec: {
      replicas: 2,
      template: { spec: { imagePullSecrets: [{ name: 'pull' }], tolerations: [{ key: 'control' }] } },
    },
  });
  t.match(found.get('DaemonSet nfs-fuse-mounter'), {
    spec: {
      template: {
        spec: {
          terminationGracePeriodSeconds: 99,
          nodeSelector: { disk: 'yes' },
          containers: [
            {
              image: 'registry.example.com/nfs-fuse:9.9',
              imagePullPolicy: 'Always',
              securityContext: { seLinuxOptions: { type: 'spc_t' } },
            },
          ],
        },
      },
    },
  });
  const drivers = ['Deployment nfs-fuse-controller', 'DaemonSet nfs-fuse-node'];
  for (const name of [...drivers, 'DaemonSet nfs-fuse-mounter']) {
    const { hostNetwork, dnsPolicy } = podOf(found.get(name));
    t.same([hostNetwork, dnsPolicy], [true, 'ClusterFirstWithHostNet'], `${name}: the node’s address`);
  }
  for (const name of drivers) {
    const [driver, sidecar] = podOf(found.get(name)).containers;
    t.same(driver?.args.slice(-4), ['-o', 'resvport', '-o', 'port=2049,mountport=20048'], name);
    t.equal(sidecar?.imagePullPolicy, 'IfNotPresent', `${name}: the policy is for our image`);
  }
  const [, registrar] = podOf(found.get('DaemonSet nfs-fuse-node')).containers;
  t.same(registrar?.securityContext?.seLinuxOptions, { type: 'spc_t' });
  const without = byName(installed({ controller: { enabled: false } }));
  t.same(
    [...without.keys()].filter((name) => /controller|provisioner/.test(name)),
    [],
    'no controller, and nothing that only it needs',
  );
  t.ok(without.has('DaemonSet nfs-fuse-node'));
});

t.test('the renderer refuses what it does not know', async (t) => {
  const data = { Values: { a: { b: 'c' }, list: [1], none: [] } };
  t.equal(renderTemplate('x{{ .Values.a.b }}y', data), 'xcy');
  t.equal(renderTemplate('a:\n  {{- toYaml .Values.list | nindent 2 }}\n', data), 'a:\n  - 1\n');
  t.equal(renderTemplate('{{- if .Values.none }}\nx\n{{- else }}\ny\n{{- end }}\n', data), '\ny\n');
  t.equal(renderTemplate('{{ with .Values.a }}{{ .Values.a.b | quote }}{{ end }}', data), '"c"');
  t.equal(renderTemplate('{{ range .Values.list }}<{{ . }}>{{ end }}', data), '<1>');
  t.equal(renderTemplate('{{ range .Values.none }}<{{ . }}>{{ end }}', data), '');
  for (const wrong of [
    '{{ .Values.x }}',
    '{{ .Values.a }}',
    '{{ range .Values.a }}{{ end }}',
    '{{ include "x" . }}',
    '{{ .Values.a.b | upper }}',
    '{{ if .Values.a }}',
    '{{ end }}',
  ])
    t.throws(() => renderTemplate(wrong, data), wrong);
  for (const file of templates) t.notMatch(readFileSync(file, 'utf8'), /\t/, basename(file));
});

t.test('the controller may read the secrets that are named, and without names none', async (t) => {
  const rulesOf = (changes: Values) => {
    const role = byName(installed(changes)).get('Role nfs-fuse-provisioner') as unknown as {
      readonly rules: readonly { readonly resources: readonly string[]; readonly resourceNames?: string[] }[];
    };
    return role.rules.filter(({ resources }) => resources.includes('secrets'));
  };
  t.same(rulesOf({}), []);
  t.same(rulesOf({ controller: { secrets: ['mount-options', 'other'] } }), [
    { apiGroups: [''], resources: ['secrets'], resourceNames: ['mount-options', 'other'], verbs: ['get'] },
  ]);
  for (const changes of [{ controller: { secrets: 'all' } }, { node: { inlineVolumes: 'some' } }])
    t.notOk(schema(merged(defaults, changes)), JSON.stringify(changes));
});
