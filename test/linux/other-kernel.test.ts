/** The mount itself on another kernel: nfs-fuse in a guest, whose FUSE is Linux 6.1's. */
import { join } from 'node:path';
import t from 'tap';
import { compileSmoke, showSmoke } from '../containers/run-smoke.js';
import { Ganesha } from '../support/ganesha.js';
import { Guest, NODE_IN_GUEST, shellLine } from '../support/guest/guest.js';
import { GuestNetwork } from '../support/guest/network.js';
import { projectRoot } from '../support/project.js';

t.test(
  'nfs-fuse mounts on Linux 6.1, and all that the smoke test tries works',
  { timeout: 400_000 },
  async (t) => {
    const network = await GuestNetwork.make();
    t.teardown(() => network.close());
    const server = await Ganesha.start({ network });
    t.teardown(() => server.close());
    const guest = await Guest.boot({ network, modules: ['fuse'], memory: '2G' });
    t.teardown(() => guest.kill());
    t.match(guest.version, /^6\.1\./, `the guest runs Linux ${guest.version}`);

    const product = shellLine([...NODE_IN_GUEST, join(projectRoot, 'dist/bin/nfs-fuse.js')]);
    const source = `${guest.cable.host}:${server.exportPath}`;
    const home = 'mkdir -p /run/home; export HOME=/run/home XDG_RUNTIME_DIR=/run/home';
    // In the background, as a user would.
    await guest.mustRun(`${home}\n${product} mount -o ${server.mountOptions.join(',')} ${source} /mnt/nfs`);
    t.match(await guest.mustRun('grep /mnt/nfs /proc/mounts'), / fuse\.nfs-fuse /);

    compileSmoke(guest.folder);
    const smoke = [...NODE_IN_GUEST, '/mnt/control/smoke.mjs', '/mnt/nfs'];
    showSmoke(t, smoke, await guest.run(shellLine(smoke), 300_000));

    await guest.mustRun(`${home}\necho kept > /mnt/nfs/kept; ${product} umount /mnt/nfs`);
    t.equal((await guest.run('grep /mnt/nfs /proc/mounts')).status, 1, 'it is unmounted');
    await guest.mustRun(`${home}\n${product} mount -o ${server.mountOptions.join(',')} ${source} /mnt/nfs`);
    t.equal(await guest.mustRun('cat /mnt/nfs/kept'), 'kept\n', 'what was written before is there');
  },
);
