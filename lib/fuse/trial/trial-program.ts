/** The program behind trialMount(): prints what it has learned as JSON. */
import { attemptTrial } from './trial-attempt.js';

process.stdout.write(JSON.stringify(await attemptTrial()));
