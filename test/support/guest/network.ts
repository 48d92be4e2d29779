/**
 * The network that guests (guest.ts) are plugged into: a network namespace with only its own loopback and their
 * cables, so that no guest meets another test, a service of this machine, or the world.
 *
 * A program reaches the guests if it is started in the namespace: put {@link GuestNetwork.enter} before its command.
 */
import { readlinkSync } from 'node:fs';
import { type Background, mustRun, run, start, until } from '../process.js';

/** A virtual cable with a guest at its end. */
export interface Cable {
  /** The network interface in the namespace. */
  readonly name: string;
  /** The address of the namespace's end, which is also the guest's way to other guests. */
  readonly host: string;
  /** The address of the guest. */
  readonly guest: string;
}

export class GuestNetwork {
  #cables = 0;

  private constructor(
    /** The prefix of a command that is to run in this network. */
    readonly enter: readonly string[],
    private readonly holder: Background | undefined,
  ) {}

  /** A new namespace; it ends with `close`, or with the test process. */
  static async make(): Promise<GuestNetwork> {
    const holder = start(['unshare', '--net', 'sleep', 'infinity']);
    const namespaceOf = (pid: number) => readlinkSync(`/proc/${pid}/ns/net`);
    try {
      await until('the network namespace is there', () => {
        if (holder.outcome) throw new Error(`no network namespace can be made: ${holder.output}`);
        return namespaceOf(holder.pid) !== namespaceOf(process.pid);
      });
      const network = new GuestNetwork(['nsenter', `--net=/proc/${holder.pid}/ns/net`], holder);
      await network.mustRun(['ip', 'link', 'set', 'lo', 'up']);
      // Lets guests talk to each other. Where /proc/sys may not be written they cannot; everything else works.
      await run([...network.enter, 'sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
      return network;
    } catch (error) {
      await holder.stop();
      throw error;
    }
  }

  /** The namespace of this process, for a caller that has one of its own already. */
  static here(): GuestNetwork {
    return new GuestNetwork([], undefined);
  }

  /** Runs a program in this network. */
  mustRun(argv: readonly string[]): Promise<string> {
    return mustRun([...this.enter, ...argv], { cwd: '/' });
  }

  /** A new cable, with addresses of its own. */
  async cable(): Promise<Cable> {
    const number = this.#cables++;
    const name = `guest${number}`;
    const [host, guest] = [`10.77.${number}.1`, `10.77.${number}.2`];
    await this.mustRun(['ip', 'tuntap', 'add', name, 'mode', 'tap']);
    await this.mustRun(['ip', 'addr', 'add', `${host}/30`, 'dev', name]);
    await this.mustRun(['ip', 'link', 'set', name, 'up']);
    return { name, host, guest };
  }

  /** Ends the namespace, once the programs that were started in it have ended. */
  async close(): Promise<void> {
    await this.holder?.stop();
  }
}
