/** The calls of a fake server: remembered, held, altered and failed as a test says. */
import type { Status, WccData } from '../../../lib/programs/nfs3/index.js';
import { decodeAuthSys } from '../../../lib/rpc/auth/auth-sys.js';
import type { CallOptions, RpcCaller } from '../../../lib/rpc/client/rpc-caller.js';
import { RpcCancelledError } from '../../../lib/rpc/rpc-errors.js';
import type { Procedure } from '../../../lib/rpc/wire/procedure.js';

export interface FakeCall {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what the procedure that it looks at carries
  readonly args: any;
  readonly uid: number;
  readonly groups: readonly number[];
}

/** Told of a call; `execute` does at the server what it asks for and gives the answer. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export type Hook = (args: any, execute: () => any, options: CallOptions) => unknown;

/** Calls of one kind that wait for a test. */
export interface Gate {
  /** How many wait. */
  readonly waiting: number;
  /** Lets the oldest go on; false if there is none. */
  release(): boolean;
  /** Lets all go on, and whatever comes later. */
  open(): void;
}

/** In the place of an RPC connection: remembers the calls, and lets a test hold, alter or fail any answer. */
export class FakeCaller implements RpcCaller {
  readonly calls: FakeCall[] = [];
  readonly #hooks = new Map<string, Hook[]>();
  /** Bytes of replies whose memory was given back. */
  recycled = 0;
  closed = false;

  /** How often a procedure was called, or how many calls there were in all. */
  count(name?: string): number {
    return name === undefined ? this.calls.length : this.named(name).length;
  }

  named(name: string): FakeCall[] {
    return this.calls.filter((call) => call.name === name);
  }

  names(): string {
    return this.calls.map((call) => call.name).join(' ');
  }

  forgetCalls(): void {
    this.calls.length = 0;
  }

  /** Hooks of one procedure run in turn, the newest first, each around the ones before. Answers how to end it. */
  on(name: string, hook: Hook): () => void {
    const hooks = this.#hooks.get(name) ?? [];
    hooks.push(hook);
    this.#hooks.set(name, hooks);
    return () => {
      const at = hooks.indexOf(hook);
      if (at >= 0) hooks.splice(at, 1);
    };
  }

  /** The next call of this procedure only. */
  once(name: string, hook: Hook): void {
    const end = this.on(name, (args, execute, options) => {
      end();
      return hook(args, execute, options);
    });
  }

  fail(name: string, status: Status): () => void {
    return this.on(name, () => this.failure(name, status));
  }

  /** Holds calls before ('request') or after ('reply') the server does what they ask. */
  gate(name: string, what: 'request' | 'reply' = 'request'): Gate {
    const waiting: (() => void)[] = [];
    let end = (): void => {};
    end = this.on(name, async (_args, execute, options) => {
      const early = what === 'reply' ? execute() : undefined;
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve);
        options.cancellation?.onCancel(() => reject(new RpcCancelledError('cancelled')));
      });
      return what === 'reply' ? early : execute();
    });
    return {
      get waiting() {
        return waiting.length;
      },
      release() {
        const next = waiting.shift();
        next?.();
        return next !== undefined;
      },
      open() {
        end();
        for (const go of waiting.splice(0)) go();
      },
    };
  }

  /** Spoils memory that is given back, so that code that still looks at it reads nonsense. */
  recycle(data: Uint8Array): void {
    data.fill(0xee);
    this.recycled += data.length;
  }

  close(): void {
    this.closed = true;
  }

  async call<Arguments, Result>(
    procedure: Procedure<Arguments, Result>,
    args: Arguments,
    options: CallOptions,
  ): Promise<Result> {
    if (options.cancellation?.cancelled) throw new RpcCancelledError('cancelled');
    const { uid, groups } = decodeAuthSys(Buffer.from(options.credential.body));
    this.calls.push({ name: procedure.name, args, uid, groups });
    const method = `do_${procedure.name}` as const;
    const table = this as unknown as Record<string, ((args: Arguments, uid: number) => Result) | undefined>;
    let execute: () => unknown = () => {
      const run = table[method];
      if (run === undefined) throw new Error(`the fake server has no ${procedure.name}`);
      return run.call(this, args, uid);
    };
    for (const hook of this.#hooks.get(procedure.name) ?? []) {
      const inner = execute;
      execute = () => hook(args, inner, options);
    }
    return (await execute()) as Result;
  }

  /** A failed result of any procedure; the parts that it does not have are not looked at. */
  failure(_name: string, status: Status) {
    const none: WccData = { before: undefined, after: undefined };
    return {
      status,
      attributes: undefined,
      directoryAttributes: undefined,
      wcc: none,
      directoryWcc: none,
      fromWcc: none,
      toWcc: none,
    };
  }
}
