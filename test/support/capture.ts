/** The messages on the wire, as an independent dissector sees them: dumpcap on loopback, decoded by tshark. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { publicFolder, type ScratchFolder } from './folders.js';
import { type Background, mustRun, start, until } from './process.js';

const PROGRAMS: Record<string, string> = {
  '100000': 'portmap',
  '100003': 'nfs',
  '100005': 'mount',
  '100021': 'nlm',
};

/** One RPC message. */
export interface Decoded {
  readonly frame: number;
  readonly xid: string;
  readonly kind: 'call' | 'reply';
  readonly program: string;
  readonly procedure: number;
}

export interface Trace {
  readonly messages: readonly Decoded[];
  /** The dissector's complaints: malformed packets and expert infos of level error. */
  readonly complaints: readonly string[];
  /** Procedure numbers of a program that were called. */
  called(program: string): Set<number>;
}

export class Capture {
  private constructor(
    private readonly ports: readonly number[],
    private readonly folder: ScratchFolder,
    private readonly dumpcap: Background,
  ) {}

  get #file(): string {
    return join(this.folder.path, 'capture.pcapng');
  }

  /** Captures TCP and UDP of these ports on loopback; packets sent after this resolves are in it. */
  static async start(ports: readonly number[]): Promise<Capture> {
    const folder = publicFolder();
    const file = join(folder.path, 'capture.pcapng');
    const filter = ports.map((port) => `port ${port}`).join(' or ');
    const dumpcap = start(['dumpcap', '-q', '-i', 'lo', '-s', '0', '-B', '64', '-f', filter, '-w', file]);
    const capture = new Capture(ports, folder, dumpcap);
    await until('dumpcap captures', () => {
      if (dumpcap.outcome) throw new Error(`dumpcap ended: ${dumpcap.output}`);
      return dumpcap.output.includes('File:') && existsSync(file);
    });
    return capture;
  }

  /** Stops without a look at what was captured; nothing to do after {@link finish}. */
  async stop(): Promise<void> {
    if (!this.dumpcap.outcome) await this.dumpcap.stop();
    await this.folder.remove();
  }

  /** Stops and decodes. */
  async finish(): Promise<Trace> {
    await this.#settle();
    this.dumpcap.signal('SIGINT');
    await this.dumpcap.ended;
    try {
      const fields = ['frame.number', 'rpc.xid', 'rpc.msgtyp', 'rpc.program', 'rpc.procedure'];
      const rows = await this.#tshark('rpc', fields);
      const messages = rows.flatMap(([frame = '', ...lists]) => {
        // A frame may carry several messages: the fields are then lists.
        const [xids, kinds, programs, procedures] = lists.map((list) => list.split(','));
        return (xids ?? []).map((xid, index) => ({
          frame: Number(frame),
          xid,
          kind: kinds?.[index] === '0' ? ('call' as const) : ('reply' as const),
          program: PROGRAMS[programs?.[index] ?? ''] ?? programs?.[index] ?? '',
          procedure: Number(procedures?.[index]),
        }));
      });
      const wrong = await this.#tshark('_ws.malformed || _ws.expert.severity == "Error"', [
        'frame.number',
        '_ws.expert.message',
        '_ws.col.Info',
      ]);
      return {
        messages,
        complaints: wrong.map((row) => row.join(' ')),
        called: (program) =>
          new Set(
            messages
              .filter((message) => message.kind === 'call' && message.program === program)
              .map(({ procedure }) => procedure),
          ),
      };
    } finally {
      await this.folder.remove();
    }
  }

  async #tshark(filter: string, fields: readonly string[]): Promise<string[][]> {
    const decodeAs = this.ports.flatMap((port) => ['-d', `tcp.port==${port},rpc`]);
    const preferences = ['-o', 'rpc.desegment_rpc_over_tcp:TRUE', '-o', 'tcp.desegment_tcp_streams:TRUE'];
    const wanted = fields.flatMap((field) => ['-e', field]);
    const args = [
      '-r',
      this.#file,
      '-n',
      ...decodeAs,
      ...preferences,
      '-Y',
      filter,
      '-T',
      'fields',
      ...wanted,
    ];
    const output = await mustRun(['tshark', ...args], { timeoutMs: 120_000 });
    return output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t'));
  }

  /** Waits until what was sent has been written: the file no longer grows. */
  async #settle(): Promise<void> {
    let size = -1;
    let still = 0;
    await until('the capture is written', () => {
      const now = statSync(this.#file).size;
      still = now === size ? still + 1 : 0;
      size = now;
      return still >= 30;
    });
  }
}
