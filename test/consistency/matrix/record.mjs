/**
 * Records what Linux's own client shows in the combinations of the consistency matrix, in user-mode Linux: writes
 * linux-6.1-SERVER.txt here. To be run again, at least twice, whenever matrix.py or what it imports has changed: what
 * Linux's client shows hangs in a few combinations on when it asked last, so each run adds those in which it is late to
 * the record of the same program. Needs root and Debian's packages user-mode-linux, nfs-common and kmod, and installs
 * them if they are missing.
 *
 * A run of a server took, on two processors with other work beside it: 4 to 5 minutes for knfsd, whose client is in the
 * same guest; 12 for ganesha and 17 for embedded, which have to cross the guest's network.
 *
 * usage: node test/consistency/matrix/record.mjs [ganesha | embedded | knfsd]…      all three by default
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { root, SetupError } from '../../setup/common.mjs';
import { installGuests } from '../../setup/guests.mjs';
import { checkMachine, installPackages } from '../../setup/machine.mjs';
import { buildHelpers, buildProduct, installModules } from '../../setup/project.mjs';

try {
  installPackages();
  installGuests();
  checkMachine();
  installModules();
  buildProduct();
  buildHelpers();
  const main = fileURLToPath(new URL('record-main.ts', import.meta.url));
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', main, ...process.argv.slice(2)], {
    cwd: root,
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`record: ${error.message}`);
  process.exitCode = 1;
}
