/**
 * Tells this mount's own changes of an object from other clients', by weak cache consistency data (RFC 1813
 * 2.6 wcc_data, nfs(5)). Every reply to a change says how the object looked before and after it. Our own
 * changes form a chain that begins at the attributes we knew; replies may come in any order. A link that fits
 * nowhere was preceded by somebody else's change.
 */
import { compareTime, sameTime, type WccAttributes } from '../../programs/nfs3/index.js';
import { orderOf, type Picture, samePicture, sameState } from './picture.js';

/** So many replies that do not fit yet are taken for somebody else's change, not for replies out of order. */
const MAX_UNMATCHED = 64;

interface Link {
  /** Undefined: the server did not say. */
  readonly before: WccAttributes | undefined;
  readonly after: Picture;
}

/** The news in a reply to a change. `doubtful`: it is not known which of two states is the later one. */
export type News = 'moved' | 'held' | 'doubtful';

export interface ForeignState {
  readonly state: Picture;
  readonly doubtful: boolean;
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
  #frontier: Picture | undefined;
  #unmatched: Link[] = [];

  constructor(known: Picture | undefined) {
    this.#frontier = known;
  }

  /** The newest state that is known to be wholly our doing. */
  get frontier(): Picture | undefined {
    return this.#frontier;
  }

  /**
   * Adds a link. `trusting`: a missing `before` counts as fitting. `renamed`: names of the object are being changed
   * by us, which moves its ctime between two links. `ordered`: see {@link orderOf}.
   */
  add(
    before: WccAttributes | undefined,
    after: Picture,
    trusting: boolean,
    renamed: boolean,
    ordered: boolean,
  ): News {
    const frontier = this.#frontier;
    if (before === undefined) {
      if (trusting) return this.#addTrusted(after, ordered);
      this.#unmatched.push({ before, after });
      return 'held';
    }
    if (frontier === undefined || sameState(before, frontier.attributes)) {
      this.#advance(after);
      return 'moved';
    }
    if (renamed && onlyCtimeMoved(frontier.attributes, before)) {
      this.renamed = true;
      this.#advance(after);
      return 'moved';
    }
    // A call that failed and changed nothing, overtaken by the reply to a later one, is no news.
    const overtaken = sameState(before, after.attributes) && orderOf(after, frontier, ordered) === 'older';
    if (!overtaken) this.#unmatched.push({ before, after });
    return 'held';
  }

  /**
   * A link that does not say what came before it. Its place in the chain follows from when it was called, or, with
   * less certainty, from the ctime.
   */
  #addTrusted(after: Picture, ordered: boolean): News {
    const frontier = this.#frontier;
    let news: News = 'moved';
    if (frontier !== undefined) {
      const order = orderOf(after, frontier, ordered);
      if (order !== 'newer') {
        if (samePicture(after.attributes, frontier.attributes)) return 'held';
        news = 'doubtful';
      }
      // The later ctime is the likelier one. To trust it would be to show a file without what was just written to it.
      if (order === 'older') return news;
    }
    this.#advance(after);
    return news;
  }

  /** `newest` is wholly our doing, and so are the links that follow on it. */
  #advance(newest: Picture): void {
    this.#frontier = newest;
    const next = this.#unmatched.findIndex(
      ({ before }) => before !== undefined && sameState(before, newest.attributes),
    );
    const [link] = next < 0 ? [] : this.#unmatched.splice(next, 1);
    if (link !== undefined) this.#advance(link.after);
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
  foreignState(ordered: boolean): ForeignState | undefined {
    const candidates = this.#unmatched.map(({ after }) => after);
    this.#unmatched = [];
    if (candidates.length === 0) return undefined;
    let state = this.#frontier;
    let doubtful = false;
    for (const candidate of candidates) {
      if (state !== undefined) {
        const order = orderOf(candidate, state, ordered);
        if (order === 'older') continue;
        if (order === 'unclear') doubtful ||= !samePicture(candidate.attributes, state.attributes);
      }
      state = candidate;
    }
    this.#frontier = state;
    return state && { state, doubtful };
  }
}
