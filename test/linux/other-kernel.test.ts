/** The mount itself on another kernel: nfs-fuse in a guest, whose FUSE is Linux 6.1's. */
import t from 'tap';
import { compileSmoke, showSmoke } from '../containers/run-smoke.js';
import { Ganesha } from '../support/ganesha.js';
import { Guest, NODE_IN_GUEST, shellLine } from '../support/guest/guest.js';
import { GuestNetwork } from '../support/guest/network.js';
import { mountInGuest, unmountInGuest } from '../support/guest/product.js';
import { untilEnd } from '../support/until-end.js';

const MOUNT_POINT = '/mnt/nfs';

t.test(
  'nfs-fuse mounts on Linux 6.1, and all that the smoke test tries works',
  { timeout: 400_000 },
  async (t) => {
    const network = untilEnd(t, await GuestNetwork.make());
    const server = untilEnd(t, await Ganesha.start({ network }));
    const guest = await Guest.boot({ network, modules: ['fuse'], memory: '2G' });
    t.teardown(() => guest.kill());
    t.match(guest.version, /^6\.1\./, `the guest runs Linux ${guest.version}`);

    const { exportPath, mountOptions } = server;
    const source = { host: guest.cable.host, exportPath, mountOptions };
    await mountInGuest(guest, source, MOUNT_POINT);
    t.match(await guest.mustRun(`grep ${MOUNT_POINT} /proc/mounts`), / fuse\.nfs-fuse /);

    compileSmoke(guest.folder);
    const smoke = [...NODE_IN_GUEST, '/mnt/control/smoke.mjs', MOUNT_POINT];
    showSmoke(t, smoke, await guest.run(shellLine(smoke), 300_000));

    await guest.mustRun(`echo kept > ${MOUNT_POINT}/kept`);
    await unmountInGuest(guest, MOUNT_POINT);
    t.equal((await guest.run(`grep ${MOUNT_POINT} /proc/mounts`)).status, 1, 'it is unmounted');
    await mountInGuest(guest, source, MOUNT_POINT);
    t.equal(await guest.mustRun(`cat ${MOUNT_POINT}/kept`), 'kept\n', 'what was written before is there');
  },
);
