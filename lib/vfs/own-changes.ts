/**
 * Tells this mount's own changes of an object from other clients', by weak cache consistency data (RFC 1813
 * 2.6 wcc_data, nfs(5)). Every reply to a change says how the object looked before and after it. Our own
 * changes form a chain that begins at the attributes we knew; replies may come in any order. A link that fits
 * nowhere was preceded by somebody else's change.
 */
import { compareTime, type Fattr3, sameTime, type WccAttributes } from '../nfs3/index.js';

/** So many replies that do not fit yet are taken for somebody else's change, not for replies out of order. */
const MAX_UNMATCHED = 64;

interface Link {
  /** Undefined: the server did not say. */
  readonly before: WccAttributes | undefined;
  readonly after: Fattr3;
}

/** Whether two pictures of an object show the same state, as far as wcc data can tell. */
export function sameState(a: WccAttributes, b: WccAttributes): boolean {
  return sameTime(a.ctime, b.ctime) && a.size === b.size && sameTime(a.mtime, b.mtime);
}

/** Whether an object differs from how it was known only by a later ctime: its names, owner or mode changed. */
export function onlyCtimeMoved(known: WccAttributes, now: WccAttributes): boolean {
  return (
    compareTime(now.ctime, known.ctime) > 0 && now.size === known.size && sameTime(now.mtime, known.mtime)
  );
}

export class OwnChanges {
  /** Changes whose reply has not come. */
  active = 0;
  /** A change came to an end without attributes: what the object looks like now is not known. */
  unknown = false;
  /** A link fitted only because names of the object were being changed. */
  renamed = false;
  #frontier: Fattr3 | undefined;
  #unmatched: Link[] = [];

  constructor(known: Fattr3 | undefined) {
    this.#frontier = known;
  }

  /** The newest state that is known to be wholly our doing. */
  get frontier(): Fattr3 | undefined {
    return this.#frontier;
  }

  /**
   * Adds a link; true if the frontier moved. `trusting`: a missing `before` counts as fitting. `renamed`: names of
   * the object are being changed by us, which moves its ctime between two links.
   */
  add(before: WccAttributes | undefined, after: Fattr3, trusting: boolean, renamed: boolean): boolean {
    const frontier = this.#frontier;
    if (before === undefined) {
      if (!trusting) {
        this.#unmatched.push({ before, after });
        return false;
      }
      if (frontier === undefined || compareTime(after.ctime, frontier.ctime) >= 0) this.#frontier = after;
    } else if (frontier === undefined || sameState(before, frontier)) {
      this.#frontier = after;
    } else if (renamed && onlyCtimeMoved(frontier, before)) {
      this.renamed = true;
      this.#frontier = after;
    } else if (sameState(before, after) && compareTime(after.ctime, frontier.ctime) < 0) {
      // A call that failed and changed nothing, overtaken by the reply to a later one: no news.
      return false;
    } else {
      this.#unmatched.push({ before, after });
      return false;
    }
    this.#advance();
    return true;
  }

  #advance(): void {
    for (;;) {
      const { length } = this.#unmatched;
      if (length === 0) return;
      const frontier = this.#frontier;
      this.#unmatched = this.#unmatched.filter(({ before, after }) => {
        if (before === undefined || frontier === undefined || this.#frontier !== frontier) return true;
        if (!sameState(before, frontier)) return true;
        this.#frontier = after;
        return false;
      });
      if (this.#unmatched.length === length) return;
    }
  }

  /** The chain begins anew, with nothing known: the object was found again under another handle. */
  restart(): void {
    this.#frontier = undefined;
    this.#unmatched = [];
    this.unknown = true;
  }

  /** Too much has piled up to wait for the missing link. */
  get overdue(): boolean {
    return this.#unmatched.length > MAX_UNMATCHED;
  }

  /** Ends the chain: the newest state that somebody else's change led to, or undefined if all was ours. */
  foreignState(): Fattr3 | undefined {
    let newest: Fattr3 | undefined;
    for (const { after } of this.#unmatched) {
      if (newest === undefined || compareTime(after.ctime, newest.ctime) >= 0) newest = after;
    }
    this.#unmatched = [];
    if (newest === undefined) return undefined;
    const frontier = this.#frontier;
    if (frontier === undefined || compareTime(newest.ctime, frontier.ctime) >= 0) this.#frontier = newest;
    return this.#frontier;
  }
}
