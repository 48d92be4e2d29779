#!/usr/bin/env node
/** The program: its arguments are one command line. */
import '../lib/mount/process/inspector-guard.js';
import { start } from '../lib/cli/entry.js';

await start(process.argv.slice(2));
