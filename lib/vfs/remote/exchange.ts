/**
 * The one way to ask the server about an object, or to change it: the call, the redrive of a stale handle, and what the
 * reply says of attributes, given to the attribute cache with the time of the call that was answered. Every stub of
 * Linux's nfs3proc.c ends the same way, in nfs_refresh_inode or nfs_post_op_update_inode.
 *
 * Serves any program whose calls name an object by its file handle: the caller makes the call, and says which results
 * mean that the handle is stale.
 */
import type { Fattr3, FileHandle, WccData } from '../../programs/nfs3/index.js';
import type { AttributeCache, CallStart, ChangeTerms } from '../cache/attribute-cache.js';
import type { Inode } from '../cache/inode.js';
import type { Caller } from '../caller/caller.js';
import type { Redriver } from './redrive.js';
import type { Reply, Stale } from './status-errno.js';

/** A result with the time of the call that it answers: after a redrive that is the second one. */
export interface Answer<Result> {
  readonly result: Result;
  readonly start: CallStart;
}

/** Makes a call with the handle that the object has at that moment. May be called twice. */
export type Call<Result> = (handle: FileHandle) => Promise<Result>;

/** Finds the wcc data in a reply: of the directory in which a name was to be changed, or of the object itself. */
export type WccOf<Result> = (result: Result) => WccData;

/** An object that a call changes, and how its wcc data is found in the reply. */
type Changed<Result> = readonly [Inode, WccOf<Result>];

/** Attributes of the object itself, in the results of GETATTR, ACCESS, READLINK, READ and FSSTAT. */
export function ofObject(result: {
  readonly status: number;
  readonly attributes?: Fattr3 | undefined;
}): Fattr3 | undefined {
  return result.attributes;
}

/** Attributes of the directory that was asked, in the results of LOOKUP, READDIR and READDIRPLUS. */
export function ofDirectory(result: {
  readonly status: number;
  readonly directoryAttributes?: Fattr3 | undefined;
}): Fattr3 | undefined {
  return result.directoryAttributes;
}

export interface TwoObjects {
  readonly first: Inode;
  readonly second: Inode;
}

/** Notes when each call of an exchange begins: the last one is what the result answers. */
class Timer {
  readonly #attributes: AttributeCache;
  #start: CallStart | undefined;

  constructor(attributes: AttributeCache) {
    this.#attributes = attributes;
  }

  callBegins(): void {
    this.#start = this.#attributes.start();
  }

  /** When the last call began: now, if none was made. */
  get start(): CallStart {
    this.#start ??= this.#attributes.start();
    return this.#start;
  }
}

export class Exchange {
  readonly #attributes: AttributeCache;
  readonly #redriver: Redriver;

  constructor(attributes: AttributeCache, redriver: Redriver) {
    this.#attributes = attributes;
    this.#redriver = redriver;
  }

  /**
   * A call that changes nothing. Resolves with the result, whatever its status; `shown` finds the object's attributes in
   * it. Rejects with the FuseError of a server that could not be asked.
   */
  async ask<Result extends Reply>(
    inode: Inode,
    caller: Caller,
    call: Call<Result>,
    shown: (result: Result) => Fattr3 | undefined,
    stale?: Stale,
  ): Promise<Answer<Result>> {
    const timer = new Timer(this.#attributes);
    const timed: Call<Result> = (handle) => {
      timer.callBegins();
      return call(handle);
    };
    const result = await this.#redriver.run(inode, caller, timed, stale);
    const { start } = timer;
    this.#attributes.observe(inode, shown(result), start);
    return { result, start };
  }

  /** As {@link ask}, of a call that changes the object, or a name in it if it is a directory. */
  change<Result extends Reply>(
    inode: Inode,
    caller: Caller,
    call: Call<Result>,
    wcc: WccOf<Result>,
    terms?: (result: Result | undefined) => ChangeTerms,
  ): Promise<Answer<Result>> {
    const run = (timer: Timer): Promise<Result> =>
      this.#redriver.run(inode, caller, (handle) => {
        timer.callBegins();
        return call(handle);
      });
    return this.#accounted([[inode, wcc]], run, terms);
  }

  /**
   * As {@link change}, of a call that names two objects. `wcc` says which of them it changes, each with what the reply
   * says of it; both may be one directory, which is accounted for once.
   */
  changeTwo<Result extends Reply>(
    { first, second }: TwoObjects,
    caller: Caller,
    call: (first: FileHandle, second: FileHandle) => Promise<Result>,
    changed: readonly Changed<Result>[],
  ): Promise<Answer<Result>> {
    const each = changed.filter(([inode], at) => changed.findIndex(([other]) => other === inode) === at);
    return this.#accounted(each, (timer) =>
      this.#redriver.runTwo(first, second, caller, (one, two) => {
        timer.callBegins();
        return call(one, two);
      }),
    );
  }

  /** Runs the call of a change, and tells the attribute cache when it begins and what its reply says of each object. */
  async #accounted<Result>(
    changed: readonly Changed<Result>[],
    run: (timer: Timer) => Promise<Result>,
    terms?: (result: Result | undefined) => ChangeTerms,
  ): Promise<Answer<Result>> {
    const attributes = this.#attributes;
    for (const [inode] of changed) attributes.beginChange(inode);
    let timer = new Timer(attributes);
    let result: Result | undefined;
    try {
      result = await run(timer);
      return { result, start: timer.start };
    } catch (error) {
      // Nothing was answered, so nothing is older than this moment.
      timer = new Timer(attributes);
      throw error;
    } finally {
      const { start } = timer;
      for (const [inode, wcc] of changed)
        attributes.endChange(inode, result && wcc(result), start, terms?.(result));
    }
  }
}
