/**
 * What a user is told of a server: that it is silent, that it talks nonsense, that it answers again. Owns how often: once
 * per outage, however many calls and connections see it.
 */
import type { Clock } from '../../base/clock.js';

/** Between two reports of nonsense, milliseconds: good replies in between do not make it worth a line each time. */
const NONSENSE_PAUSE = 60_000;

export class UserLog {
  readonly #server: string;
  readonly #clock: Clock;
  readonly #write: (message: string) => void;
  readonly #said = new Set<string>();
  #notResponding = false;
  #nonsense = false;
  #nonsenseAt = Number.NEGATIVE_INFINITY;

  constructor(server: string, clock: Clock, write: (message: string) => void) {
    this.#server = server;
    this.#clock = clock;
    this.#write = write;
  }

  /** Said to be silent, and nothing else since. */
  get silent(): boolean {
    return this.#notResponding;
  }

  /** What is as true of the next connection as of this one. */
  once(message: string): void {
    if (this.#said.has(message)) return;
    this.#said.add(message);
    this.#write(message);
  }

  /** A hard call was not answered in time. */
  notResponding(): void {
    if (this.#notResponding) return;
    this.#notResponding = true;
    this.#write(`server ${this.#server} not responding, still trying`);
  }

  /** Something came that is no answer; `what` names the server, too. Told once until a good reply has come. */
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
    this.#write(`server ${this.#server} OK`);
  }
}
