/**
 * Reports to the user about a server: that it is silent, that it talks nonsense, that it answers again. Owns how often:
 * once for each outage, also when many calls and connections notice it.
 */
import type { Clock } from '../../base/clock.js';

/** Milliseconds between two reports of nonsense, even if good replies come between them. */
const NONSENSE_PAUSE = 60_000;

export class UserLog {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #write: (message: string) => void;
  readonly #said = new Set<string>();
  #notResponding = false;
  #nonsense = false;
  #nonsenseAt = Number.NEGATIVE_INFINITY;

  /** `server`: as messages name it, "server HOST". */
  constructor(server: string, clock: Clock, write: (message: string) => void) {
    this.#server = server;
    this.#clock = clock;
    this.#write = write;
  }

  /** "Not responding" was reported, and the server has not answered since. */
  get silent(): boolean {
    return this.#notResponding;
  }

  /** Reports something that holds for every connection, once. */
  once(message: string): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#write(message);
  }

  /** A hard call was not answered in time. */
  notResponding(): void {
    if (this.#notResponding) return;
    this.#notResponding = true;
    this.#write(`${this.#server} not responding, still trying`);
  }

  /** Something arrived that is not a reply. `what` also names the server. Reported once until a good reply comes. */
  nonsense(what: string): void {
    const now = this.#clock.now();
    const told = this.#nonsense || now - this.#nonsenseAt < NONSENSE_PAUSE;
    this.#nonsense = true;
    if (told) return;
    this.#nonsenseAt = now;
    this.#write(what);
  }

  /** A good reply has come. */
  replied(): void {
    this.#nonsense = false;
    if (!this.#notResponding) return;
    this.#notResponding = false;
    this.#write(`${this.#server} OK`);
  }
}
