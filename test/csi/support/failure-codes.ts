/** Mounts that fail, and mounts that are in use: what the caller is told, however mounts are made. */
import { existsSync } from 'node:fs';
import type { Test } from 'tap';
import { freePorts } from '../../support/ports.js';
import { start, until } from '../../support/process.js';
import { capability, type PodVolume } from './csi-client.js';

/** Publishes the volume in ways that fail, leaves nothing behind, and unpublishes it while it is in use, which fails, too. */
export async function failsWithCodes(t: Test, volume: PodVolume): Promise<void> {
  const context = { ...volume.context, share: '/nowhere' };
  t.match(await volume.publishFailure({ volume_context: context }), {
    code: /NOT_FOUND|PERMISSION_DENIED/,
    details: /\/nowhere/,
  });
  const [port = 0] = await freePorts(1);
  const away = { volume_capability: capability([`port=${port}`, `mountport=${port}`, 'nolock']) };
  t.match(await volume.publishFailure(away), { code: 'UNAVAILABLE', details: /refuse/ });
  t.notOk(volume.isMounted);
  t.notOk(existsSync(volume.target));
  await volume.publish();
  const program = start(['sh', '-c', 'cd "$0" && echo there && exec sleep infinity', volume.target]);
  await until('a program is there', () => program.output.includes('there'));
  t.match(await volume.unpublishFailure(), { code: 'FAILED_PRECONDITION', details: /in use/ });
  await program.stop();
  await volume.unpublish();
}
