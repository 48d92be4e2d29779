/**
 * The manifests in deploy/kubernetes: objects as the API has them, that fit together, with commands and parameters that nfs-fuse
 * takes. No Kubernetes runs here.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { packageInfo } from '../../lib/base/package-info.js';
import { checkInline } from '../../lib/csi/volume/inline-volumes.js';
import { readParameters } from '../../lib/csi/volume/volume-parameters.js';
import { parseMountRequest } from '../../lib/mount/options/mount-options.js';
import { nfsFuse } from '../cli/support/product.js';
import { complaints, DEPLOY, type Manifest, manifestsOf, yamlFiles } from './support/manifests.js';

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly securityContext?: {
    readonly privileged?: boolean;
    readonly allowPrivilegeEscalation?: boolean;
    readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] };
  };
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly mountPropagation?: string;
  }[];
}

interface Workload extends Manifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: object };
    readonly updateStrategy?: { readonly type: string };
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly serviceAccountName: string;
        readonly containers: readonly Container[];
        readonly volumes: readonly {
          readonly name: string;
          readonly hostPath?: { readonly path: string };
          readonly emptyDir?: object;
        }[];
      };
    };
  };
}

const base = manifestsOf('kubernetes/base');
const examples = manifestsOf('kubernetes/examples');
const isWorkload = (manifest: Manifest): manifest is Workload =>
  /^(Deployment|DaemonSet)$/.test(manifest.kind);
const workloads = base.filter(isWorkload);

function workload(name: string): Workload {
  const found = workloads.find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`there is no ${name}`);
  return found;
}

function container(name: string, of: string): Container {
  const found = workload(name).spec.template.spec.containers.find((one) => one.name === of);
  if (found === undefined) throw new Error(`${name} has no container ${of}`);
  return found;
}

/** The place on the node of a path in a container. */
function onNode(name: string, of: string, path: string): string | undefined {
  const { volumes } = workload(name).spec.template.spec;
  const mounts = container(name, of).volumeMounts.filter(({ mountPath }) => path.startsWith(`${mountPath}/`));
  const [mount] = [...mounts].sort((a, b) => b.mountPath.length - a.mountPath.length);
  const host = volumes.find((volume) => volume.name === mount?.name)?.hostPath?.path;
  return mount === undefined || host === undefined
    ? undefined
    : `${host}${path.slice(mount.mountPath.length)}`;
}

const after = (args: readonly string[], option: string): string => args[args.indexOf(option) + 1] ?? '';

t.test('each is an object of the Kubernetes API, with fields that this has', async (t) => {
  t.ok(base.length >= 12 && examples.length >= 10);
  t.same(complaints([...base, ...examples]), []);
  const [first] = workloads;
  if (first === undefined) throw new Error('no workload');
  t.match(complaints([{ ...first, spec: { ...first.spec, updateStrategie: {} } }]), [/updateStrategie/]);
  t.match(
    complaints([{ ...first, metadata: { name: 'x', labels: { a: 1 } } }]),
    [/string/],
    'and the judge sees faults',
  );
});

t.test('kustomization.yaml names every file beside it', async (t) => {
  const { resources, namespace } = parse(
    readFileSync(join(DEPLOY, 'kubernetes/base/kustomization.yaml'), 'utf8'),
  ) as { resources: string[]; namespace: string };
  const files = yamlFiles('kubernetes/base').map((file) => basename(file));
  t.same([...resources, 'kustomization.yaml'].sort(), files);
  t.equal(namespace, 'nfs-fuse');
});

t.test('the objects fit together', async (t) => {
  const names = (kind: string) =>
    base.filter((one) => one.kind === kind).map(({ metadata }) => metadata.name);
  for (const { kind, metadata, spec } of workloads) {
    const { serviceAccountName, containers, volumes } = spec.template.spec;
    t.ok(names('ServiceAccount').includes(serviceAccountName), `${metadata.name}: ${serviceAccountName}`);
    t.match(spec.template.metadata.labels, spec.selector.matchLabels);
    const mounted = new Set(containers.flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name)));
    t.same([...mounted].sort(), volumes.map(({ name }) => name).sort(), `${kind} ${metadata.name}`);
    for (const { image } of containers)
      if (image.startsWith('nfs-fuse:')) t.equal(image, `nfs-fuse:${packageInfo().version}`);
      else t.match(image, /:v\d+\.\d+\.\d+$/, 'a version is named');
  }
  for (const binding of base.filter(({ kind }) => kind.endsWith('Binding'))) {
    const { roleRef, subjects } = binding as unknown as {
      roleRef: { kind: string; name: string };
      subjects: readonly { name: string; namespace: string }[];
    };
    t.ok(names(roleRef.kind).includes(roleRef.name));
    for (const { name, namespace } of subjects) {
      t.ok(names('ServiceAccount').includes(name));
      t.equal(namespace, 'nfs-fuse');
    }
  }
  const selectors = workloads.map(({ spec }) => JSON.stringify(spec.selector.matchLabels));
  t.equal(new Set(selectors).size, selectors.length, 'no two workloads claim the same pods');
});

t.test('the driver is found by the kubelet, and the mounter by the driver', async (t) => {
  const [csiDriver] = base.filter(({ kind }) => kind === 'CSIDriver');
  t.match(csiDriver, {
    metadata: { name: 'nfs-fuse.csi' },
    spec: {
      attachRequired: false,
      podInfoOnMount: true,
      fsGroupPolicy: 'File',
      requiresRepublish: true,
      volumeLifecycleModes: ['Persistent', 'Ephemeral'],
    },
  });
  for (const name of ['nfs-fuse-node', 'nfs-fuse-controller'])
    t.equal(after(container(name, 'driver').args, '--driver-name'), 'nfs-fuse.csi');
  const socket = onNode('nfs-fuse-node', 'driver', '/csi/csi.sock');
  t.equal(after(container('nfs-fuse-node', 'driver').args, '--endpoint'), 'unix:///csi/csi.sock');
  t.equal(onNode('nfs-fuse-node', 'registrar', '/csi/csi.sock'), socket);
  t.ok(container('nfs-fuse-node', 'registrar').args.includes(`--kubelet-registration-path=${socket}`));
  t.equal(
    onNode('nfs-fuse-node', 'driver', after(container('nfs-fuse-node', 'driver').args, '--mounter')),
    onNode('nfs-fuse-mounter', 'mounter', after(container('nfs-fuse-mounter', 'mounter').args, '--socket')),
    'the socket of the mounter',
  );
  const pods = container('nfs-fuse-node', 'driver').volumeMounts.find(({ name }) => name === 'pods');
  t.match(pods, { mountPropagation: 'Bidirectional' });
  t.equal(
    onNode('nfs-fuse-node', 'driver', `${pods?.mountPath}/x`),
    `${pods?.mountPath}/x`,
    'the kubelet’s paths hold',
  );
});

t.test('only the driver of a node has privileges, and nothing replaces a mounter by itself', async (t) => {
  for (const { metadata, spec } of workloads)
    for (const { name, image, securityContext } of spec.template.spec.containers) {
      const who = `${metadata.name} ${name}`;
      if (who === 'nfs-fuse-node driver') t.equal(securityContext?.privileged, true);
      else {
        const { privileged, allowPrivilegeEscalation, capabilities } = securityContext ?? {};
        t.strictSame(
          [privileged, allowPrivilegeEscalation, capabilities?.drop],
          [undefined, false, ['ALL']],
          who,
        );
        const isOurs = image.startsWith('nfs-fuse:');
        t.strictSame(capabilities?.add, isOurs ? ['NET_BIND_SERVICE'] : undefined, who);
      }
    }
  t.equal(workload('nfs-fuse-mounter').spec.updateStrategy?.type, 'OnDelete');
  t.equal(workload('nfs-fuse-node').spec.updateStrategy, undefined, 'the driver may be updated at any time');
});

t.test('nfs-fuse has the commands and options of the containers', async (t) => {
  for (const { spec } of workloads)
    for (const { image, args } of spec.template.spec.containers) {
      if (!image.startsWith('nfs-fuse:')) continue;
      const [command = '', ...rest] = args;
      const { status, stdout } = await nfsFuse([command, '--help']);
      t.equal(status, 0, command);
      for (const option of rest.filter((word) => word.startsWith('--')))
        t.ok(new RegExp(`${option}\\b`).test(stdout), `${command} ${option}`);
    }
});

t.test('the driver takes the parameters and mount options of the examples', async (t) => {
  const FOR_TEMPLATES = {
    'csi.storage.k8s.io/pvc/name': 'c',
    'csi.storage.k8s.io/pvc/namespace': 'n',
    'csi.storage.k8s.io/pv/name': 'v',
  };
  type Texts = Record<string, string>;
  let seen = 0;
  const reads = (given: Texts, isVolume: boolean, mountOptions: readonly string[] = []) => {
    seen += 1;
    const { server, share, mountOptions: own } = readParameters({ ...given, ...FOR_TEMPLATES }, isVolume);
    t.equal(`${server}:${share}`, 'nfs.example.com:/export');
    const options = ['allow_other', ...mountOptions, ...own];
    t.same(parseMountRequest(`${server}:${share}`, options).notes, [], options.join(','));
  };
  for (const { kind, ...manifest } of examples) {
    const { provisioner, parameters, mountOptions, spec } = manifest as {
      provisioner?: string;
      parameters?: Texts;
      mountOptions?: string[];
      spec?: {
        mountOptions?: string[];
        csi?: { driver: string; volumeAttributes: Texts };
        volumes?: { csi?: { driver: string; volumeAttributes: Texts } }[];
      };
    };
    if (kind === 'StorageClass') {
      t.equal(provisioner, 'nfs-fuse.csi');
      reads(parameters ?? {}, false, mountOptions);
    }
    if (spec?.csi !== undefined) {
      t.equal(spec.csi.driver, 'nfs-fuse.csi');
      reads(spec.csi.volumeAttributes, true, spec.mountOptions);
    }
    for (const { csi } of spec?.volumes ?? [])
      if (csi !== undefined) {
        t.equal(csi.driver, 'nfs-fuse.csi');
        reads(csi.volumeAttributes, true);
      }
  }
  t.equal(seen, 4, 'two volumes, a class, and an inline volume');
});

t.test('nothing that mounts bring fills the node, or has a mounter evicted', async (t) => {
  for (const { name, emptyDir } of workload('nfs-fuse-mounter').spec.template.spec.volumes)
    if (emptyDir !== undefined) t.match(emptyDir, { medium: 'Memory', sizeLimit: /^\d+[MG]i$/ }, name);
});

t.test('inline volumes are safe unless somebody wants them otherwise', async (t) => {
  t.equal(after(container('nfs-fuse-node', 'driver').args, '--inline-volumes'), 'safe');
  for (const { kind, spec } of examples as readonly (Manifest & {
    readonly spec?: { readonly volumes?: readonly { csi?: { volumeAttributes: Record<string, string> } }[] };
  })[]) {
    if (kind !== 'Pod') continue;
    for (const { csi } of spec?.volumes ?? []) {
      if (csi === undefined) continue;
      const { mode, mountOptions } = readParameters(csi.volumeAttributes, true);
      t.ok(checkInline('safe', { mode }, mountOptions));
    }
  }
});

t.test('the controller may read no secret but those that somebody names', async (t) => {
  interface Rules extends Manifest {
    readonly rules: readonly { readonly resources: readonly string[]; readonly resourceNames?: string[] }[];
  }
  const rulesIn = (manifests: readonly Manifest[]) =>
    manifests
      .filter((one): one is Rules => /Role$/.test(one.kind))
      .flatMap(({ rules }) => rules.filter(({ resources }) => resources.includes('secrets')));
  t.same(rulesIn(base), []);
  t.match(rulesIn(examples), [{ resourceNames: ['mount-options'], verbs: ['get'] }]);
});
