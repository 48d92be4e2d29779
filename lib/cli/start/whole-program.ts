/**
 * The program as it starts: the arguments of the process are one command line. bin/ has it as a bundle of few files; from here
 * it runs file by file, which starts slower and is there for tests and profiles that look at single modules.
 */
import '../../mount/process/inspector-guard.js';
import { start } from './entry.js';

await start(process.argv.slice(2));
