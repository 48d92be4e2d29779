/** kubectl's own kustomize builds the base, an overlay that names the image, and the patches of docs/kubernetes.md. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { publicFolder } from '../support/folders.js';
import { mustRun } from '../support/process.js';
import { projectRoot } from '../support/project.js';
import { untilEnd } from '../support/until-end.js';
import { complaints, DEPLOY, type Manifest, manifestsIn, manifestsOf } from './support/manifests.js';

const BASE = join(DEPLOY, 'kubernetes/base');
const sorted = (manifests: readonly Manifest[]) =>
  [...manifests].sort((a, b) => (`${a.kind} ${a.metadata.name}` < `${b.kind} ${b.metadata.name}` ? -1 : 1));

t.test('the base is built as it is written', async (t) => {
  t.same(
    sorted(manifestsIn(await mustRun(['kubectl', 'kustomize', BASE]))),
    sorted(manifestsOf('kubernetes/base')),
  );
});

t.test('an overlay names the image and the namespace', async (t) => {
  const scratch = untilEnd(t, publicFolder());
  const overlay = join(scratch.path, 'overlay');
  await mkdir(overlay);
  const kustomization = {
    namespace: 'storage',
    bases: [relative(overlay, BASE)],
    images: [{ name: 'nfs-fuse', newName: 'registry.example.com/nfs-fuse', newTag: '1.2' }],
  };
  await writeFile(join(overlay, 'kustomization.yaml'), stringify(kustomization));
  const text = await mustRun(['kubectl', 'kustomize', overlay]);
  const built = manifestsIn(text);
  t.same(complaints(built), []);
  t.notMatch(text, /image: nfs-fuse:/);
  t.equal(text.match(/image: registry\.example\.com\/nfs-fuse:1\.2/g)?.length, 3);
  for (const { kind, metadata } of built)
    if (/^(DaemonSet|Deployment|Role|RoleBinding|ServiceAccount)$/.test(kind))
      t.equal(metadata.namespace, 'storage', `${kind} ${metadata.name}`);
});

interface Patch {
  readonly target: { readonly kind: string; readonly name: string };
  readonly patch: string;
}

interface Workload extends Manifest {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: { readonly args: string[] }[] } };
  };
}

t.test('the patches of the page give mount options to the drivers, and to nothing else', async (t) => {
  const page = await readFile(join(projectRoot, 'docs/kubernetes.md'), 'utf8');
  const [, block = ''] = /^```yaml\n(apiVersion: kustomize.*?)^```$/ms.exec(page) ?? [];
  const { patches } = parse(block) as { readonly patches: readonly Patch[] };
  const scratch = untilEnd(t, publicFolder());
  const overlay = join(scratch.path, 'overlay');
  await mkdir(overlay);
  // Debian's kubectl wants each patch in a file, with one name, and has another word for them.
  const older: { target: object; path: string }[] = [];
  for (const { target, patch } of patches)
    for (const { apiVersion, kind, metadata } of manifestsOf('kubernetes/base')) {
      const fits = (pattern: string, text: string) => new RegExp(`^(${pattern})$`).test(text);
      if (!fits(target.kind, kind) || !fits(target.name, metadata.name)) continue;
      const path = `${older.length}.yaml`;
      await writeFile(join(overlay, path), patch);
      const [group, version] = apiVersion.split('/');
      older.push({ target: { group, version, kind, name: metadata.name }, path });
    }
  const kustomization = { bases: [relative(overlay, BASE)], patchesJson6902: older };
  await writeFile(join(overlay, 'kustomization.yaml'), stringify(kustomization));
  const built = manifestsIn(await mustRun(['kubectl', 'kustomize', overlay]));
  t.same(complaints(built), []);
  const containersWith = (word: string) =>
    built
      .filter((one): one is Workload => /^(DaemonSet|Deployment)$/.test(one.kind))
      .flatMap(({ metadata, spec }) =>
        spec.template.spec.containers
          .filter(({ args }) => args.join(' ').endsWith(word))
          .map(({ args }) => `${metadata.name}: ${args[0]}`),
      )
      .sort();
  t.same(containersWith(' -o resvport'), ['nfs-fuse-controller: csi', 'nfs-fuse-node: csi']);
});
