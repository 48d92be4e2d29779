/** A plain folder that looks like a mount to a suite: shows what the machine's own file system makes of it. */
import { Agent, type AgentOptions } from './agent.js';
import type { Place } from './places.js';
import { mustRun, type Outcome, type RunOptions, run } from './process.js';

export class LocalFolder {
  readonly log = '';
  readonly #agents: Agent[] = [];

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

  async agent(options: Partial<AgentOptions> = {}): Promise<Agent> {
    const agent = await Agent.start({ cwd: this.path, ...options });
    this.#agents.push(agent);
    return agent;
  }

  async closeAgents(): Promise<void> {
    await Promise.all(this.#agents.splice(0).map((agent) => agent.close()));
  }

  close(): Promise<void> {
    return this.closeAgents();
  }
}
