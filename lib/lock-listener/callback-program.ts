/**
 * The half of NLM that a client serves: a server tells that a lock which waited is granted (GRANTED, GRANTED_MSG). Owns the
 * answers that go back as calls (GRANTED_RES), and the bound on them.
 */
import type { Logger } from '../base/log.js';
import {
  type LockResult,
  LockStatus,
  lockProcedures,
  NLM_PROGRAM,
  type TestArguments,
} from '../programs/nlm4/index.js';
import { type Cancellation, type Credential, handle, type RpcCaller, type RpcServer } from '../rpc/index.js';

/** Answers under way. Beyond it a grant is not answered: the server tells it again, and the client asks by itself. */
const MAX_ANSWERS = 64;

export interface CallbackOptions {
  /**
   * Takes a lock that the server has granted. Owner and range say whose it is; the cookie is the server's own. True: somebody
   * waits for it, or its owner holds it already: a grant may be told twice, or cross with the reply to a LOCK. False: nobody
   * wants it. Linux's newer servers then unlock the range for that owner, others keep it locked until an UNLOCK.
   */
  readonly onGranted: (args: TestArguments) => boolean;
  /** The server's lock manager, for the answers. It is not closed here. */
  readonly answerTo: RpcCaller;
  /** The credential of the answers. */
  readonly credential: Credential;
  readonly log: Logger;
}

/** An answer under way, which can be given up. */
class Answer implements Cancellation {
  cancelled = false;
  #listener = (): void => {};

  onCancel(listener: () => void): void {
    if (this.cancelled) listener();
    else this.#listener = listener;
  }

  cancel(): void {
    this.cancelled = true;
    this.#listener();
  }
}

export class CallbackProgram {
  readonly #options: CallbackOptions;
  readonly #underWay = new Set<Answer>();
  #closed = false;
  #toldOfFailure = false;

  constructor(options: CallbackOptions) {
    this.#options = options;
  }

  /** Offers the program on a server. A copy of a call is answered as the call was, and not passed on. */
  offer(server: RpcServer): void {
    const { GRANTED, GRANTED_MSG } = lockProcedures;
    const once = { idempotent: false };
    const replyByCall = (args: TestArguments): undefined => {
      const status = this.#statusOf(args);
      // After the reply: servers wait for that first.
      setImmediate(() => void this.#answer({ cookie: args.cookie, status }));
      return undefined;
    };
    server.register(NLM_PROGRAM, [
      handle(GRANTED, (args) => ({ cookie: args.cookie, status: this.#statusOf(args) }), once),
      handle(GRANTED_MSG, replyByCall, once),
    ]);
  }

  /** Gives up the answers under way, and sends no more. */
  close(): void {
    this.#closed = true;
    for (const answer of this.#underWay) answer.cancel();
  }

  #statusOf(args: TestArguments): LockStatus {
    return this.#options.onGranted(args) ? LockStatus.GRANTED : LockStatus.DENIED;
  }

  async #answer(result: LockResult): Promise<void> {
    if (this.#closed || this.#underWay.size >= MAX_ANSWERS) return;
    const { answerTo, credential, log } = this.#options;
    const answer = new Answer();
    this.#underWay.add(answer);
    try {
      await answerTo.call(lockProcedures.GRANTED_RES, result, { credential, cancellation: answer });
    } catch (error) {
      // The server tells the grant again, or the client finds out by asking: one line is enough.
      if (!this.#closed && !this.#toldOfFailure)
        log.warn(`a grant of a lock cannot be answered: ${messageOf(error)}`);
      this.#toldOfFailure = true;
    } finally {
      this.#underWay.delete(answer);
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
