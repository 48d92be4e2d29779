/** The work of the small programs beside this one, for a product that is one file and does it itself. */
export { runProbe } from './mount/probe.js';
export { TRIAL } from './trial/trial.js';
export { attemptTrial } from './trial/trial-attempt.js';
