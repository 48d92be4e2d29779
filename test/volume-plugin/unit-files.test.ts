/** The units that the volume plugin prints for systemd. */
import t from 'tap';
import { failsOnce, nfsFuse, product } from '../cli/support/product.js';

const [node = '', program = ''] = product;

t.test('for root: a socket where docker looks, and a service whose end leaves the mounts', async (t) => {
  const { stdout, status } = await nfsFuse([
    'volume-plugin',
    '--print-units=system',
    '-o',
    'ro,port=1',
    '-o',
    'groups=1:2',
  ]);
  t.equal(status, 0);
  t.match(stdout, /^ListenStream=\/run\/docker\/plugins\/nfs-fuse\.sock$/m);
  t.match(stdout, /^SocketMode=0600$/m);
  t.match(stdout, /^KillMode=process$/m);
  const start = stdout.split('\n').find((line) => line.startsWith('ExecStart='));
  t.equal(
    start,
    `ExecStart=${node} ${program} volume-plugin --socket /run/docker/plugins/nfs-fuse.sock ` +
      '--root /var/lib/nfs-fuse-volumes -o ro,port=1 -o groups=1:2',
  );
});

t.test(
  'for a user: a service in the namespaces of podman, and the lines by which podman finds it',
  async (t) => {
    const { stdout } = await nfsFuse([
      ...[
        'volume-plugin',
        '--print-units=user',
        '--socket',
        '/run/user/7/a b.sock',
        '--root',
        '/home/u/100%',
      ],
    ]);
    t.match(
      stdout,
      /^ExecStart=podman unshare setpriv --pdeathsig TERM .* --socket "\/run\/user\/7\/a b\.sock" --root "\/home\/u\/100%%"$/m,
    );
    t.match(stdout, /^\[engine\.volume_plugins\]\nnfs-fuse = "\/run\/user\/7\/a b\.sock"$/m);
    t.match(stdout, /^WantedBy=default\.target$/m);
    t.notMatch(stdout, /timeout/, 'podman waits as it does by default');
  },
);

t.test('with --timeout, podman is told to wait as long as the plugin believes', async (t) => {
  const { stdout } = await nfsFuse([
    ...['volume-plugin', '--print-units=user', '--timeout=60'],
    ...['--socket', '/run/user/7/s.sock', '--root', '/home/u/v'],
  ]);
  t.match(stdout, /^ExecStart=podman unshare .* --timeout 60$/m);
  t.match(stdout, /^\[engine\]\nvolume_plugin_timeout = 60\n\n\[engine\.volume_plugins\]$/m);
});

t.test('other kinds of units, scopes and times are refused', async (t) => {
  failsOnce(
    t,
    await nfsFuse(['volume-plugin', '--print-units=openrc']),
    /--print-units=openrc is not one of system, user/,
    /--print-units=user for rootless podman/,
  );
  failsOnce(
    t,
    await nfsFuse(['volume-plugin', '--scope=mine']),
    /--scope=mine is not one of/,
    /Leave it out/,
  );
  failsOnce(
    t,
    await nfsFuse(['volume-plugin', '--timeout=4']),
    /--timeout=4 is not a number of seconds from 5 to 600/,
    /volume_plugin_timeout in containers\.conf/,
  );
});
