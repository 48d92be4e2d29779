/** A plain folder that looks like a mount to a suite: shows what the machine's own file system makes of it. */
import type { Agent, AgentOptions } from './agent.js';
import { Agents } from './agents.js';
import type { Place } from './places.js';
import { mustRun, type Outcome, type RunOptions, run } from './process.js';

export class LocalFolder {
  readonly log = '';
  readonly #agents = new Agents();

  constructor(
    readonly path: string,
    readonly place: Place,
  ) {}

  run(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
    return run(argv, { cwd: this.path, ...options });
  }

  mustRun(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return mustRun(argv, { cwd: this.path, ...options });
  }

  agent(options: Partial<AgentOptions> = {}): Promise<Agent> {
    return this.#agents.start({ cwd: this.path, ...options });
  }

  closeAgents(): Promise<void> {
    return this.#agents.close();
  }

  close(): Promise<void> {
    return this.closeAgents();
  }
}
