/** The compose file of docs/volumes.md: the plugin takes its options. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { readVolumeOptions } from '../../lib/volume-plugin/volume-options.js';
import { projectRoot } from '../support/project.js';

interface Compose {
  readonly services: Readonly<Record<string, { readonly volumes: readonly string[] }>>;
  readonly volumes: Readonly<Record<string, { driver: string; driver_opts: Record<string, string> }>>;
}

t.test('the plugin takes the volumes of the compose file, and the services have them', async (t) => {
  const page = readFileSync(join(projectRoot, 'docs/volumes.md'), 'utf8');
  const [, block = ''] = /^```yaml\n(services:.*?)^```$/ms.exec(page) ?? [];
  const { services, volumes } = parse(block) as Compose;
  const used = Object.values(services).flatMap((service) =>
    service.volumes.map((text) => text.split(':')[0]),
  );
  t.same(Object.keys(volumes), used);
  for (const { driver, driver_opts } of Object.values(volumes)) {
    t.equal(driver, 'nfs-fuse');
    const { target, options, request } = readVolumeOptions(driver_opts, []);
    t.equal(target, 'server:/export');
    t.same(options, ['uid=1000', 'gid=1000']);
    t.same(request.notes, []);
  }
});
