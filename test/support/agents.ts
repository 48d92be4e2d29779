import { Agent, type AgentOptions } from './agent.js';

/** The agents that work in one place: closed together, before what they work on. */
export class Agents {
  readonly #agents: Agent[] = [];

  async start(options: AgentOptions): Promise<Agent> {
    const agent = await Agent.start(options);
    this.#agents.push(agent);
    return agent;
  }

  async close(): Promise<void> {
    await Promise.all(this.#agents.splice(0).map((agent) => agent.close()));
  }
}
