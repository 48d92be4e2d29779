/** kubectl's own kustomize builds the base, and an overlay that names the image. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import t from 'tap';
import { stringify } from 'yaml';
import { publicFolder } from '../support/folders.js';
import { mustRun } from '../support/process.js';
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
