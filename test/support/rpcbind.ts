/**
 * A real port mapper, rpcbind, on port 111 of a network namespace. Its files lie in a mount namespace of its own: rpcbind
 * has one lock file and one socket per machine.
 */
import type { GuestNetwork } from './guest/network.js';
import { type Background, run, start, until } from './process.js';

/** rpcbind with an empty folder for its files. */
const OWN_FILES = 'mount -t tmpfs -o mode=755 run /run && mkdir -p /run/rpcbind && exec rpcbind -f "$@"';

export class Rpcbind {
  private constructor(
    private readonly network: GuestNetwork,
    private readonly program: Background,
  ) {}

  static async start(network: GuestNetwork): Promise<Rpcbind> {
    const argv = ['unshare', '-m', '--propagation', 'private', 'sh', '-c', OWN_FILES, 'sh'];
    const rpcbind = new Rpcbind(network, start([...network.enter, ...argv], { cwd: '/' }));
    try {
      await until('rpcbind answers', async () => {
        if (rpcbind.program.outcome) throw new Error(`rpcbind ended: ${rpcbind.program.output}`);
        return (await run([...network.enter, 'rpcinfo', '-p', '127.0.0.1'])).status === 0;
      });
    } catch (error) {
      await rpcbind.stop();
      throw error;
    }
    return rpcbind;
  }

  /** All registrations but its own, in order: "100003 3 tcp 127.0.0.1.8.1 superuser". */
  async registrations(): Promise<string[]> {
    const [, ...lines] = (await this.network.mustRun(['rpcinfo', '127.0.0.1'])).trimEnd().split('\n');
    return lines
      .map((line) => line.trim().split(/ +/))
      .filter(([program]) => program !== '100000')
      .map(([program, version, netid, address, , owner]) =>
        [program, version, netid, address, owner].join(' '),
      )
      .sort();
  }

  async stop(): Promise<void> {
    await this.program.stop();
  }
}
